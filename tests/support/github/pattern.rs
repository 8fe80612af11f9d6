//! Patterns that name requests: `POST /app/installations/*/access_tokens`.

use std::fmt;

/// A method and a path. `*` stands for one segment of the path, or any method; a final `**` for any rest.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    method: String,
    path: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; without a method, any method fits.
    #[track_caller]
    pub(super) fn parse(text: &str) -> Self {
        let (method, path) = text.split_once(' ').unwrap_or(("*", text));
        let path = path.strip_prefix('/').unwrap_or_else(|| panic!("a pattern is `METHOD /path`, not `{text}`"));
        Self { method: method.to_owned(), path: path.split('/').map(str::to_owned).collect() }
    }

    /// The pattern of every request.
    pub(super) fn any() -> Self {
        Self::parse("* /**")
    }

    /// Tells whether a request fits; the path is the API's own, without host and `/api/v3`.
    pub(super) fn fits(&self, method: &str, path: &str) -> bool {
        let mut segments = path.split('/').skip(1);
        (self.method == "*" || self.method == method)
            && self.path.iter().all(|wanted| match wanted.as_str() {
                "**" => segments.by_ref().last().is_some(),
                "*" => segments.next().is_some(),
                wanted => segments.next() == Some(wanted),
            })
            && segments.next().is_none()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} /{}", self.method, self.path.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_star_stands_for_one_segment_and_two_for_the_rest() {
        let mint = Pattern::parse("POST /app/installations/*/access_tokens");
        assert!(mint.fits("POST", "/app/installations/7/access_tokens"));
        assert!(!mint.fits("GET", "/app/installations/7/access_tokens"));
        assert!(!mint.fits("POST", "/app/installations/7/8/access_tokens"));
        assert!(!mint.fits("POST", "/app/installations/7/access_tokens/more"));
        assert!(Pattern::parse("/app/**").fits("GET", "/app/installations/7"));
        assert!(!Pattern::parse("/app/**").fits("GET", "/app"));
        assert!(Pattern::parse("/").fits("GET", "/"));
        assert!(Pattern::any().fits("DELETE", "/installation/token"));
    }
}
