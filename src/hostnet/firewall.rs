//! NAT: tables of our own with nft, called as LXC calls them, so that either program takes away
//! what the other made; rules of iptables only where nft is missing or not wanted. Tables and
//! chains of others are never written to.
//!
//! There is no table with accept rules: an accept in one table of nft does not overrule the drop
//! of another, so such rules would only look as if they helped. `walls` finds who drops.

use super::error::Fault;
use crate::hostnet::error::HostNetError;
use crate::hostnet::program;
use crate::hostnet::settings::{Settings, Side};

/// What LXC's script and we call our tables.
const TABLES: [&str; 3] = ["inet lxc", "ip lxc", "ip6 lxc"];

/// By which program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Firewall {
    /// nft, at this path.
    Nft(String),
    /// iptables and ip6tables.
    Iptables,
}

/// Looks for what a start needs, before anything is made.
pub(super) fn find(s: &Settings) -> Result<Firewall, HostNetError> {
    match program::find("nft").filter(|_| s.nft) {
        Some(nft) => Ok(Firewall::Nft(nft)),
        None if program::find("iptables").is_some() => Ok(Firewall::Iptables),
        None if s.nft => Err(Box::new(Fault::NoProgram { program: "nft", package: "nftables" })),
        None => Err(Box::new(Fault::NoProgram { program: "iptables", package: "iptables" })),
    }
}

fn family(side: &Side) -> &'static str {
    if side.address.is_ipv6() { "ip6" } else { "ip" }
}

/// One transaction that makes the tables as they should be, whatever they were.
fn script(s: &Settings, there: &[&str]) -> String {
    let mut text: String = there.iter().map(|table| format!("delete table {table}\n")).collect();
    for side in s.sides().map(|side| &side.value).filter(|side| side.nat) {
        let (family, net) = (family(side), side.network);
        text.push_str(&format!(
            "table {family} lxc {{\n\tchain postrouting {{\n\
             \t\ttype nat hook postrouting priority 100; policy accept;\n\
             \t\t{family} saddr {net} {family} daddr != {net} counter masquerade\n\t}}\n}}\n"
        ));
    }
    text
}

/// Which of our tables there are.
fn tables(nft: &str) -> Result<Vec<&'static str>, HostNetError> {
    let listed = program::run(&[nft, "list", "tables"])?;
    let there =
        |table: &&str| listed.lines().any(|line| line.strip_prefix("table ") == Some(*table));
    Ok(TABLES.into_iter().filter(there).collect())
}

/// Makes our tables.
pub(super) fn make_tables(nft: &str, s: &Settings) -> Result<(), HostNetError> {
    let script = script(s, &tables(nft)?);
    program::run(&[nft, &script]).map(drop)
}

/// Takes away our tables, as far as there are any.
pub(super) fn delete_tables() -> Result<(), HostNetError> {
    let Some(nft) = program::find("nft") else { return Ok(()) };
    let script: String = tables(&nft)?.iter().map(|t| format!("delete table {t}\n")).collect();
    if script.is_empty() { Ok(()) } else { program::run(&[&nft, &script]).map(drop) }
}

/// The rules for iptables, each as program, table, chain and what it says. Here an accept does
/// help: all rules of a hook are in one chain.
pub(super) fn rules(s: &Settings) -> Vec<Vec<String>> {
    let bridge = &s.bridge.value;
    let mut all = Vec::new();
    let mut rule = |text: String| all.push(text.split(' ').map(str::to_owned).collect());
    for side in s.sides().map(|side| &side.value) {
        let program = if side.address.is_ipv6() { "ip6tables" } else { "iptables" };
        for (proto, port) in [("udp", 67), ("udp", 53), ("tcp", 53)] {
            if port == 53 || !side.address.is_ipv6() {
                rule(format!(
                    "{program} filter INPUT -i {bridge} -p {proto} --dport {port} -j ACCEPT"
                ));
            }
        }
        rule(format!("{program} filter FORWARD -i {bridge} -j ACCEPT"));
        rule(format!("{program} filter FORWARD -o {bridge} -j ACCEPT"));
        if side.nat {
            let net = side.network;
            rule(format!("{program} nat POSTROUTING -s {net} ! -d {net} -j MASQUERADE"));
        }
    }
    all
}

fn iptables(rule: &[String], verb: &str) -> Result<(), HostNetError> {
    let [program, table, chain, words @ ..] = rule else { return Ok(()) };
    let path = if program == "ip6tables" { "ip6tables" } else { "iptables" };
    let found = program::find(path);
    let path = found.ok_or(Box::new(Fault::NoProgram { program: path, package: "iptables" }))?;
    let mut argv = vec![path.as_str(), "-w", "-t", table, verb, chain];
    argv.extend(words.iter().map(String::as_str));
    program::run(&argv).map(drop)
}

/// True if the rule is there.
pub(super) fn has_rule(rule: &[String]) -> bool {
    iptables(rule, "-C").is_ok()
}

/// Adds the rule: before those of others, or it might never be reached.
pub(super) fn add_rule(rule: &[String]) -> Result<(), HostNetError> {
    iptables(rule, "-I")
}

/// Takes the rule away, if it is there: status 1 says that it is not (iptables(8)).
pub(super) fn delete_rule(rule: &[String]) -> Result<(), HostNetError> {
    match iptables(rule, "-D") {
        Err(e) if matches!(&*e, Fault::Program { how, .. } if how.ends_with("status 1")) => Ok(()),
        done => done,
    }
}

/// True if the family's packets to elsewhere are masqueraded, by our table or our rule.
pub(super) fn masquerades(side: &Side, s: &Settings) -> bool {
    if let Some(nft) = program::find("nft") {
        let family = family(side);
        let listed = program::run(&[&nft, "list", "table", family, "lxc"]).unwrap_or_default();
        // nft prints a network of one address without its prefix length, which we do not make.
        let rule = format!("{family} saddr {} ", side.network);
        if listed.lines().any(|l| l.contains(&rule) && l.contains("masquerade")) {
            return true;
        }
    }
    let nat = |rule: &&Vec<String>| {
        rule[1] == "nat" && (rule[0] == "ip6tables") == side.address.is_ipv6()
    };
    program::find("iptables").is_some() && rules(s).iter().filter(nat).any(|rule| has_rule(rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostnet::settings::settings;
    use crate::hostnet::vars::Variables;

    fn of(text: &str) -> Settings {
        settings(&Variables::of(text).unwrap()).unwrap().0.unwrap()
    }

    #[test]
    fn only_what_is_asked_for_is_masqueraded() {
        let v4 = script(&of(""), &[]);
        assert!(v4.contains("ip saddr 10.0.3.0/24 ip daddr != 10.0.3.0/24 counter masquerade"));
        let routed = script(&of("LXC_IPV6_ADDR=2001:db8::1"), &["inet lxc", "ip lxc"]);
        assert!(routed.starts_with("delete table inet lxc\ndelete table ip lxc\ntable ip lxc"));
        assert!(!routed.contains("ip6"), "{routed}");
        let nat = script(&of("LXC_IPV6_ADDR=fd00::1 LXC_IPV6_NAT=true"), &[]);
        assert!(nat.contains("table ip6 lxc {") && nat.contains("ip6 saddr fd00::/64 "), "{nat}");
    }

    #[test]
    fn rules_of_iptables_name_the_bridge() {
        let all = rules(&of("LXC_IPV6_ADDR=fd00::1 LXC_IPV6_NAT=true LXC_BRIDGE=b0"));
        let text: Vec<String> = all.iter().map(|rule| rule.join(" ")).collect();
        assert!(text.contains(&"iptables filter FORWARD -i b0 -j ACCEPT".into()));
        assert!(text.contains(&"iptables filter INPUT -i b0 -p udp --dport 67 -j ACCEPT".into()));
        assert!(text.contains(
            &"ip6tables nat POSTROUTING -s fd00::/64 ! -d fd00::/64 -j MASQUERADE".into()
        ));
        assert_eq!(rules(&of("")).len(), 6);
    }
}
