//! Pages of a list, and the `Link` header that leads through them.
//!
//! See <https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api>.

use super::answer::Answer;
use super::request::Request;

/// The part of a list that one answer shows.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub items: Vec<T>,
    pub link: Option<String>,
}

impl<T> Page<T> {
    /// Cuts the page that the query asks for; `url` is the list's own address, without a query.
    pub(super) fn of(all: Vec<T>, request: &Request, url: &str) -> Self {
        let number = |name| request.parameter(name).and_then(|value| value.parse::<usize>().ok());
        let per_page = number("per_page").unwrap_or(DEFAULT_PER_PAGE).clamp(1, MOST_PER_PAGE);
        let page = number("page").unwrap_or(1).max(1);
        let last = all.len().div_ceil(per_page).max(1);
        let link = link(page, last, |page| format!("<{url}?{}>", query(request, page)));
        let items = all.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
        Self { items, link }
    }
}

/// Adds the `Link` header, if the list has more than one page.
pub(super) fn linked(answer: Answer, link: Option<String>) -> Answer {
    match link {
        Some(link) => answer.header("Link", link),
        None => answer,
    }
}

/// In GitHub's order: next and last on the first page, prev and first on the last, all four in between.
fn link(page: usize, last: usize, address: impl Fn(usize) -> String) -> Option<String> {
    let mut relations = Vec::new();
    if page > 1 {
        relations.push((last.min(page - 1), "prev"));
    }
    if page < last {
        relations.extend([(page + 1, "next"), (last, "last")]);
    }
    if page > 1 {
        relations.push((1, "first"));
    }
    let links: Vec<_> = relations.iter().map(|(page, rel)| format!("{}; rel=\"{rel}\"", address(*page))).collect();
    (!links.is_empty()).then(|| links.join(", "))
}

/// The query that was sent, with another page in it.
fn query(request: &Request, page: usize) -> String {
    let kept = request.query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("page="));
    kept.map(str::to_owned).chain([format!("page={page}")]).collect::<Vec<_>>().join("&")
}

const DEFAULT_PER_PAGE: usize = 30;
const MOST_PER_PAGE: usize = 100;
