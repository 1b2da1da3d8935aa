//! Who drops a container's packets: the chains of others in a listing of nft. An accept of one
//! table does not overrule the drop of another, so what is found here can only be mended in the
//! table that drops, by the tool that it belongs to. Pure.

/// A chain that drops what the bridge needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wall {
    /// `FAMILY TABLE CHAIN`.
    pub chain: String,
    /// Which packets.
    pub hook: Hook,
    /// `policy drop` or the rule.
    pub how: String,
    /// The command that lets them through.
    pub mend: String,
}

/// Which packets a chain sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// To the host itself: DHCP and DNS.
    Input,
    /// Through the host: everything else.
    Forward,
}

#[derive(Default)]
struct Chain<'a> {
    name: &'a str,
    hook: Option<Hook>,
    drops: bool,
    rules: Vec<&'a str>,
}

struct Table<'a> {
    family: &'a str,
    name: &'a str,
    chains: Vec<Chain<'a>>,
}

/// The tables of a listing (`nft list ruleset`).
fn tables(listing: &str) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    let mut inside = false;
    for line in listing.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        match (&words[..], tables.last_mut()) {
            (["table", family, name, "{"], _) => {
                tables.push(Table { family, name, chains: Vec::new() });
            }
            (["chain", name, "{"], Some(table)) => {
                table.chains.push(Chain { name, ..Chain::default() });
                inside = true;
            }
            (["}"], _) => inside = false,
            (_, Some(table)) if inside => {
                let Some(chain) = table.chains.last_mut() else { continue };
                match &words[..] {
                    ["type", "filter", "hook", hook, ..] => {
                        chain.hook = match *hook {
                            "input" => Some(Hook::Input),
                            "forward" => Some(Hook::Forward),
                            _ => None,
                        };
                        chain.drops = line.contains("policy drop");
                    }
                    ["type", ..] | [""] => {}
                    _ => chain.rules.push(line),
                }
            }
            _ => {}
        }
    }
    tables
}

/// A rule without its counter and comment.
fn bare(rule: &str) -> String {
    let rule = rule.split(" comment \"").next().unwrap_or_default();
    let mut words = Vec::new();
    let mut skip = 0;
    for word in rule.split(' ') {
        match (skip, word) {
            (0, "counter") => skip = 4,
            (0, word) => words.push(word),
            _ => skip -= 1,
        }
    }
    words.join(" ")
}

/// The walls in a listing, for a bridge that has IPv4 and perhaps IPv6.
pub fn walls(listing: &str, bridge: &str, ipv6: bool) -> Vec<Wall> {
    let mut found = Vec::new();
    for table in tables(listing) {
        let ours = table.name == "lxc";
        if ours || !(matches!(table.family, "ip" | "inet") || ipv6 && table.family == "ip6") {
            continue;
        }
        for chain in &table.chains {
            let Some(hook) = chain.hook else { continue };
            let last = chain.rules.last().map(|rule| bare(rule)).unwrap_or_default();
            let how = match last.split(' ').next() {
                Some("drop" | "reject") => format!("its last rule is \"{last}\""),
                _ if chain.drops => "its policy is drop".to_owned(),
                _ => continue,
            };
            if !table.lets_through(bridge, hook) {
                found.push(Wall {
                    chain: format!("{} {} {}", table.family, table.name, chain.name),
                    hook,
                    how,
                    mend: table.mend(chain.name, bridge, hook),
                });
            }
        }
    }
    found
}

/// The listing of the old kind of iptables (`iptables-legacy -S`), which nft does not see, in
/// nft's words as far as [`walls`] reads them.
pub fn from_iptables(rules: &str, family: &str) -> String {
    let mut listing = format!("table {family} filter {{\n");
    let chains = rules.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let verb = words.next().filter(|verb| matches!(*verb, "-P" | "-N"))?;
        Some((words.next()?, words.next().filter(|_| verb == "-P")))
    });
    for (chain, policy) in chains {
        listing.push_str(&format!("chain {chain} {{\n"));
        if let Some(policy) = policy {
            let (hook, policy) = (chain.to_lowercase(), policy.to_lowercase());
            listing.push_str(&format!("type filter hook {hook} priority 0; policy {policy};\n"));
        }
        let prefix = format!("-A {chain} ");
        for rule in rules.lines().filter_map(|line| line.strip_prefix(&prefix)) {
            let mut words = rule.split(' ');
            let mut said: Vec<String> = Vec::new();
            while let Some(word) = words.next() {
                let value = if word.starts_with('-') { words.next().unwrap_or("") } else { "" };
                match word {
                    "-i" => said.push(format!("iifname \"{value}\"")),
                    "-o" => said.push(format!("oifname \"{value}\"")),
                    "-m" => {}
                    "--ctstate" | "--state" => {
                        said.push(format!("ct state {}", value.to_lowercase()))
                    }
                    "-j" => said.push(value.to_lowercase()),
                    _ => said.push(format!("{word} {value}")),
                }
            }
            listing.push_str(&format!("{}\n", said.join(" ")));
        }
        listing.push_str("}\n");
    }
    listing + "}\n"
}

impl Table<'_> {
    /// True if some chain of the table accepts what comes from the bridge, and what goes back.
    fn lets_through(&self, bridge: &str, hook: Hook) -> bool {
        let rules = || self.chains.iter().flat_map(|chain| &chain.rules).map(|rule| bare(rule));
        let from = format!("iifname \"{bridge}\"");
        let to = format!("oifname \"{bridge}\"");
        let zone = rules().any(|rule| rule.starts_with(&from) && rule.ends_with("_trusted"));
        match hook {
            _ if zone => true,
            Hook::Input => rules().any(|rule| {
                let dhcp = !rule.contains("dport") || rule.contains("67");
                rule.starts_with(&from) && rule.ends_with("accept") && dhcp
            }),
            Hook::Forward => {
                let accepts = |side: &str| rules().any(|rule| rule == format!("{side} accept"));
                let answers = rules().any(|rule| {
                    rule.starts_with("ct state")
                        && rule.contains("established")
                        && rule.ends_with("accept")
                });
                accepts(&from) && (answers || accepts(&to))
            }
        }
    }

    fn mend(&self, chain: &str, bridge: &str, hook: Hook) -> String {
        let has = |prefix: &str| self.chains.iter().any(|chain| chain.name.starts_with(prefix));
        let iptables = if self.family == "ip6" { "ip6tables" } else { "iptables" };
        let place = format!("{} {} {chain}", self.family, self.name);
        match hook {
            _ if self.name == "firewalld" => format!(
                "firewall-cmd --permanent --zone=trusted --change-interface={bridge} && \
                 firewall-cmd --reload"
            ),
            Hook::Forward if has("DOCKER-USER") => format!(
                "{iptables} -I DOCKER-USER -i {bridge} -j ACCEPT && \
                 {iptables} -I DOCKER-USER -o {bridge} -j ACCEPT"
            ),
            Hook::Forward if has("ufw") => {
                format!("ufw route allow in on {bridge} && ufw route allow out on {bridge}")
            }
            Hook::Input if has("ufw") => format!("ufw allow in on {bridge}"),
            // Named as iptables names them, whichever of its two kinds made them.
            Hook::Forward if chain == "FORWARD" => format!(
                "{iptables} -I FORWARD -i {bridge} -j ACCEPT && \
                 {iptables} -I FORWARD -o {bridge} -j ACCEPT"
            ),
            Hook::Input if chain == "INPUT" => format!(
                "{iptables} -I INPUT -i {bridge} -p udp -m multiport --dports 53,67 -j ACCEPT && \
                 {iptables} -I INPUT -i {bridge} -p tcp --dport 53 -j ACCEPT"
            ),
            Hook::Forward => format!(
                "nft insert rule {place} iifname {bridge} accept && \
                 nft insert rule {place} oifname {bridge} accept"
            ),
            Hook::Input => format!(
                "nft insert rule {place} iifname {bridge} meta l4proto '{{ tcp, udp }}' \
                 th dport '{{ 53, 67 }}' accept"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "table ip filter {\n\tchain DOCKER-USER {\n\t\tcounter packets 3 bytes 9 \
        return\n\t}\n\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\
        \t\tcounter packets 1 bytes 2 jump DOCKER-USER\n\t\toifname \"docker0\" ct state \
        related,established counter packets 0 bytes 0 accept\n\t}\n}\ntable ip nat {\n\tchain \
        POSTROUTING {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t}\n}\n";

    #[test]
    fn docker_drops_and_has_its_own_place_for_exceptions() {
        let found = walls(DOCKER, "lxcbr0", true);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].chain.as_str(), found[0].hook), ("ip filter FORWARD", Hook::Forward));
        assert!(found[0].mend.starts_with("iptables -I DOCKER-USER -i lxcbr0 -j ACCEPT && "));
        let both =
            "iifname \"lxcbr0\" counter packets 0 bytes 0 accept\n\t\toifname \"lxcbr0\" accept\n";
        let mended =
            DOCKER.replace("\t\tcounter packets 3", &format!("\t\t{both}\t\tcounter packets 3"));
        assert_eq!(walls(&mended, "lxcbr0", true), []);
        assert_eq!(walls(&mended, "lxcbr1", true).len(), 1);
    }

    #[test]
    fn ufw_and_firewalld_are_named_by_their_tools() {
        let ufw = "table ip6 filter {\n\tchain ufw6-user-input {\n\t}\n\tchain INPUT {\n\t\ttype filter \
            hook input priority filter; policy drop;\n\t}\n\tchain FORWARD {\n\t\ttype filter hook \
            forward priority filter; policy drop;\n\t\tct state established,related accept\n\t}\n}\n";
        assert_eq!(walls(ufw, "br0", false), []);
        let found = walls(ufw, "br0", true);
        let mends: Vec<&str> = found.iter().map(|wall| wall.mend.as_str()).collect();
        assert_eq!(
            mends,
            ["ufw allow in on br0", "ufw route allow in on br0 && ufw route allow out on br0"]
        );
        let rule = "chain ufw6-user-input {\n\t\tiifname \"br0\" counter packets 0 bytes 0 accept";
        assert_eq!(walls(&ufw.replace("chain ufw6-user-input {", rule), "br0", true), []);
        let firewalld = "table inet firewalld {\n\tchain filter_FORWARD {\n\t\ttype filter hook forward \
            priority filter + 10; policy accept;\n\t\tct state { established, related } accept\n\t\t\
            reject with icmpx admin-prohibited\n\t}\n\tchain zones {\n\t}\n}\n";
        let found = walls(firewalld, "br0", false);
        assert!(found[0].mend.contains("--change-interface=br0"), "{found:?}");
        assert!(found[0].how.contains("reject with icmpx"), "{found:?}");
        let zone = "chain zones {\n\t\tiifname \"br0\" goto filter_FWD_trusted";
        assert_eq!(walls(&firewalld.replace("chain zones {", zone), "br0", false), []);
    }

    #[test]
    fn the_old_iptables_is_read_too() {
        let rules = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER-USER\n\
            -A FORWARD -j DOCKER-USER\n-A FORWARD -o docker0 -m conntrack --ctstate \
            RELATED,ESTABLISHED -j ACCEPT\n-A DOCKER-USER -j RETURN\n";
        let found = walls(&from_iptables(rules, "ip"), "lxcbr0", false);
        assert_eq!(found.len(), 1);
        assert!(found[0].mend.starts_with("iptables -I DOCKER-USER -i lxcbr0"), "{found:?}");
        let mended = format!(
            "{rules}-A DOCKER-USER -i lxcbr0 -j ACCEPT\n-A DOCKER-USER -o lxcbr0 -j ACCEPT\n"
        );
        assert_eq!(walls(&from_iptables(&mended, "ip"), "lxcbr0", false), []);
        let answers = "-P FORWARD DROP\n-A FORWARD -m state --state ESTABLISHED -j ACCEPT\n";
        let found = walls(&from_iptables(answers, "ip6"), "b", true);
        assert!(found[0].mend.starts_with("ip6tables -I FORWARD -i b -j ACCEPT && "), "{found:?}");
        let mended = format!("{answers}-A FORWARD -i b -j ACCEPT\n");
        assert_eq!(walls(&from_iptables(&mended, "ip6"), "b", true), []);
    }

    #[test]
    fn a_plain_table_is_mended_in_place() {
        let plain = "table inet filter {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 1.1.1.1,\n\t\t\t \
            2.2.2.2 }\n\t}\n\n\tchain input {\n\t\ttype filter hook input priority filter; policy \
            drop;\n\t\tiif \"lo\" accept\n\t}\n\tchain fwd {\n\t\ttype filter hook forward priority 0; \
            policy accept;\n\t\tct state established accept\n\t\tcounter packets 0 bytes 0 drop\n\t}\n}\n";
        let found = walls(plain, "lxcbr0", false);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].mend,
            "nft insert rule inet filter input iifname lxcbr0 meta l4proto '{ tcp, udp }' th dport \
             '{ 53, 67 }' accept"
        );
        assert_eq!(found[1].how, "its last rule is \"drop\"");
        assert_eq!(walls("", "lxcbr0", true), []);
        assert_eq!(
            walls(
                "table ip lxc {\n\tchain x {\n\t\ttype filter hook input priority 0; policy drop;\n",
                "a",
                true
            ),
            []
        );
    }
}
