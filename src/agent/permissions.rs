//! The permissions that GitHub documents, and their levels; its list is not closed, so that a name beside it is no error.
//!
//! <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>

use crate::ids::{Level, Permissions};
use crate::protocol::{Code, Refusal};

/// Refuses a level that a permission does not have; returns a warning when a permission is not known.
pub(super) fn judge(asked: &Permissions) -> Result<Option<String>, Refusal> {
    let mut unknown = Vec::new();
    for (name, level) in asked.iter() {
        match levels(name) {
            None => unknown.push(format!("`{name}`")),
            Some(levels) if levels.contains(&level) => {}
            Some(levels) => {
                let has: Vec<_> = levels.iter().map(ToString::to_string).collect();
                return Err(Refusal::new(
                    Code::BadRequest,
                    format!("the permission `{name}` cannot be {level}: it is {}", has.join(" or ")),
                )
                .hint("correct the permissions asked for"));
            }
        }
    }
    Ok((!unknown.is_empty())
        .then(|| format!("GitHub documents no permission {}; it was asked for all the same", unknown.join(", "))))
}

fn levels(name: &str) -> Option<&'static [Level]> {
    use Level::{Admin, Read, Write};
    match name {
        "organization_events" | "organization_plan" => Some(&[Read]),
        "profile" | "workflows" => Some(&[Write]),
        "enterprise_custom_properties_for_organizations"
        | "organization_custom_properties"
        | "organization_projects"
        | "repository_projects" => Some(&[Read, Write, Admin]),
        name => READ_OR_WRITE.binary_search(&name).is_ok().then_some(&[Read, Write]),
    }
}

/// In the order of the alphabet. Those of github.com, of GitHub Enterprise Cloud and of GitHub Enterprise Server.
const READ_OR_WRITE: [&str; 52] = [
    "actions",
    "administration",
    "artifact_metadata",
    "attestations",
    "checks",
    "code_quality",
    "codespaces",
    "contents",
    "custom_properties_for_organizations",
    "dependabot_secrets",
    "deployments",
    "discussions",
    "email_addresses",
    "enterprise_administration",
    "enterprise_custom_properties",
    "enterprise_organization_installation_repositories",
    "enterprise_organization_installations",
    "environments",
    "followers",
    "git_ssh_keys",
    "gpg_keys",
    "interaction_limits",
    "issues",
    "members",
    "merge_queues",
    "metadata",
    "organization_administration",
    "organization_announcement_banners",
    "organization_copilot_agent_settings",
    "organization_copilot_seat_management",
    "organization_custom_org_roles",
    "organization_custom_roles",
    "organization_hooks",
    "organization_packages",
    "organization_personal_access_token_requests",
    "organization_personal_access_tokens",
    "organization_secrets",
    "organization_self_hosted_runners",
    "organization_user_blocking",
    "packages",
    "pages",
    "pull_requests",
    "repository_custom_properties",
    "repository_hooks",
    "secret_scanning_alerts",
    "secrets",
    "security_events",
    "single_file",
    "starring",
    "statuses",
    "team_discussions",
    "vulnerability_alerts",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(permissions: &str) -> Result<Option<String>, Refusal> {
        judge(&permissions.parse().expect("permissions"))
    }

    #[test]
    fn every_known_permission_is_found() {
        assert!(READ_OR_WRITE.is_sorted());
        for name in READ_OR_WRITE {
            assert_eq!(judged(&format!("{name}=read,workflows=write")), Ok(None), "{name}");
        }
    }

    #[test]
    fn a_level_that_a_permission_does_not_have_is_refused() {
        for permissions in
            ["workflows=read", "organization_plan=write", "contents=admin", "contents=read,profile=admin"]
        {
            assert_eq!(judged(permissions).expect_err(permissions).code, Code::BadRequest);
        }
        assert_eq!(judged("organization_projects=admin"), Ok(None));
    }

    #[test]
    fn an_unknown_name_is_passed_on_with_a_warning() {
        let warning = judged("contents=read,pull_request=admin").expect("GitHub is the judge").expect("a warning");
        assert!(warning.contains("`pull_request`") && !warning.contains("contents"), "{warning}");
    }
}
