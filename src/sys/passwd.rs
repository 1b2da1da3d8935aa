//! Users and groups out of passwd(5) and group(5) files, read by ourselves: the C library would
//! load the host's name-service plug-ins, which a static program cannot and a container must not.

use super::{Result, fd};
use std::path::Path;

/// A line of passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of passwd(5)")]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

/// A line of group(5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of group(5)")]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// The well-formed lines of a passwd(5) text; others (NIS entries, comments) are passed over.
pub fn parse_users(text: &str) -> Vec<User> {
    text.lines().filter_map(parse_user).collect()
}

fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?;
    let _password = fields.next()?;
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let _comment = fields.next()?;
    let home = fields.next()?;
    let shell = fields.next()?;
    Some(User { name: name.into(), uid, gid, home: home.into(), shell: shell.into() })
}

/// The well-formed lines of a group(5) text.
pub fn parse_groups(text: &str) -> Vec<Group> {
    text.lines().filter_map(parse_group).collect()
}

fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?;
    let _password = fields.next()?;
    let gid = fields.next()?.parse().ok()?;
    let members = fields.next().unwrap_or_default();
    let members = members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
    Some(Group { name: name.into(), gid, members })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['+', '-', '#'])
}

/// The users of a host's file (`/etc/passwd`).
pub fn users(path: &Path) -> Result<Vec<User>> {
    Ok(parse_users(&fd::read_to_string(path)?))
}

/// The groups of a host's file (`/etc/group`).
pub fn groups(path: &Path) -> Result<Vec<Group>> {
    Ok(parse_groups(&fd::read_to_string(path)?))
}

/// The first user with that id; as in the C library the first line wins.
pub fn by_uid(users: &[User], uid: u32) -> Option<&User> {
    users.iter().find(|user| user.uid == uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_entries_are_passed_over() {
        let users = parse_users(
            "root:x:0:0:root:/root:/bin/bash\n# comment:x:1:1:::\n+::::::\n\nbad:x:minus:0::/:\n\
             short:x:1\nweb:x:1000:1000:a,b:/home/web:/bin/sh:extra\ntoor:x:0:0::/:/bin/sh\n",
        );
        assert_eq!(
            users.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(),
            ["root", "web", "toor"]
        );
        assert_eq!(by_uid(&users, 0).map(|u| u.shell.as_str()), Some("/bin/bash"));
        assert_eq!(users[1].shell, "/bin/sh");
    }

    #[test]
    fn groups_have_members() {
        let groups = parse_groups("adm:x:4:a,b\ntty:x:5:\nnogid:x::\nold:x:7\n");
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0].members, ["a", "b"]);
        assert!(groups[1].members.is_empty() && groups[2].gid == 7);
    }
}
