//! Any text as /etc/default/lxc-net: refused with the line to blame, or variables that mean the same
//! when they are written as plainly as can be; and what lxc-net is then to make fits together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::hostnet::settings::{Settings, Side, settings};
use lxcbox::hostnet::subnet::Subnet;
use lxcbox::hostnet::vars::Variables;
use lxcbox::util::blame::Explain;
use std::net::IpAddr;

const SEEDS: [&str; 8] = [
    "USE_LXC_BRIDGE=\"true\"\nLXC_BRIDGE=lxcbr0\nLXC_ADDR=10.0.3.1\nLXC_NETMASK=255.255.255.0\n\
     LXC_NETWORK=10.0.3.0/24\nLXC_DHCP_RANGE=10.0.3.2,10.0.3.254\nLXC_DHCP_MAX=253\n",
    "LXC_ADDR=192.168.7.65 LXC_NETMASK=26\nLXC_DHCP_RANGE=192.168.7.70,192.168.7.90,1h\n",
    "LXC_ADDR=172.16.9.1\nLXC_NETMASK=20\nLXC_NETWORK=172.16.0.0/12\nLXC_BRIDGE_MAC=02:0:0:a:b:c\n",
    "LXC_IPV6_ADDR=2001:db8:0:11::5\nLXC_IPV6_MASK=64\nLXC_IPV6_NETWORK=2001:db8:0:10::/60\n",
    "LXC_IPV6_PREFIX=fd00:1:2:3::/64\nLXC_IPV6_NAT=true\nLXC_IPV6_ENABLE=true\n",
    "export A='it''s' B=\"a\\\"b\\z$A\"; C=${B}x\\ y # more\nLXC_DOMAIN=\"$C\"\nLXC_DHCP_PING=false\n",
    "LXC_DHCP_CONFILE=/etc/dnsmasq.d/lxc \\\nLXC_USE_NFT=false\nUSE_LXC_BRIDGE=no\n",
    "[ -f /nowhere ] && LXC_ADDR=10.1.255.254\nLXC_AUTO=\"true\" || LXC_ADRR=1\n",
];

fuzz_target!(init: lxcbox_fuzz::seed(SEEDS), |text: &str| {
    subnets(text);
    let lines = text.matches('\n').count() + 1;
    let is_there = |line: u32| (1..=lines).contains(&(line as usize));
    let vars = match Variables::of(text) {
        Ok(vars) => vars,
        Err(e) => return assert!(e.origin().is_some_and(|origin| is_there(origin.line)), "{e}"),
    };
    let mut plain = String::new();
    for (name, origin) in vars.names() {
        assert!(is_there(origin.line), "{name} {origin}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name:?}");
        let value = vars.get(name).map_or("", |v| &v.value).replace('\'', "'\\''");
        plain.push_str(&format!("{name}='{value}'\n"));
    }
    let again = Variables::of(&plain).expect("as plain as can be");
    for (name, _) in vars.names() {
        let value = |vars: &Variables| vars.get(name).map(|v| v.value.clone());
        assert_eq!(value(&again), value(&vars), "{name}");
    }
    match (settings(&vars), settings(&again)) {
        (Ok((Ok(ours), _)), Ok((Ok(again), _))) => {
            fits(&ours);
            assert_eq!(without_origins(ours), without_origins(again));
        }
        (Ok((Err(_), _)), Ok((Err(_), _))) => {}
        (Err(e), Err(again)) => {
            assert_eq!(e.to_string(), again.to_string());
            assert!(e.origin().is_some_and(|origin| origin.line as usize <= lines), "{e}");
        }
        (ours, again) => panic!("{ours:?}, but {again:?}"),
    }
});

fn without_origins(mut settings: Settings) -> Settings {
    let nowhere = lxcbox::util::blame::Origin::label("");
    settings.bridge.origin = nowhere.clone();
    settings.v4.origin = nowhere.clone();
    settings.v6.iter_mut().for_each(|v6| v6.origin = nowhere.clone());
    settings
}

/// What iproute2, dnsmasq and nft would be told.
fn fits(settings: &Settings) {
    let bridge = settings.bridge.value.as_str();
    assert!((1..16).contains(&bridge.len()) && bridge != "." && bridge != "..", "{bridge:?}");
    assert!(!bridge.contains(['/', ':', '"', ' ', '\n', '\t', '\0']), "{bridge:?}");
    assert!(settings.mac[0] & 1 == 0 && settings.mac != [0; 6]);
    assert!(settings.dhcp_max > 0);
    for side in settings.sides() {
        side_fits(&side.value);
    }
    let v4 = &settings.v4.value;
    let net = v4.subnet();
    assert!(v4.address.is_ipv4() && (1..=30).contains(&v4.prefix) && v4.nat);
    assert!(v4.address != net.first && v4.address != net.last());
    let mut range = settings.dhcp_range.split(',').map(str::trim);
    let mut bound = || range.next().and_then(|text| text.parse::<IpAddr>().ok()).expect("two");
    let (first, last) = (bound(), bound());
    assert!(net.contains(first) && net.contains(last) && first <= last, "{settings:?}");
    if let Some(v6) = &settings.v6 {
        assert!(v6.value.address.is_ipv6() && v6.value.prefix == 64);
    }
}

fn side_fits(side: &Side) {
    assert!(!side.address.is_multicast() && !side.address.is_unspecified(), "{side:?}");
    let (net, all) = (side.subnet(), side.network);
    assert!(net.contains(side.address), "{side:?}");
    assert!(all.contains(net.first) && all.contains(net.last()), "{side:?}");
}

/// What looks like networks: read, shown and compared as ranges of numbers are.
fn subnets(text: &str) {
    let words = text.split(|c: char| c.is_whitespace() || c == '=' || c == ',');
    let found: Vec<Subnet> = words.filter_map(Subnet::parse).take(4).collect();
    for net in &found {
        assert_eq!(Subnet::parse(&net.to_string()).as_ref(), Some(net));
        let (first, last) = range(net);
        assert_eq!(last - first, net.size(), "{net}");
        assert!(net.contains(net.first) && net.contains(net.last()), "{net}");
        assert_eq!(net.host(net.size() / 2).is_ipv6(), net.first.is_ipv6());
        for other in &found {
            let (theirs, end) = range(other);
            let same = net.first.is_ipv6() == other.first.is_ipv6();
            assert_eq!(net.overlaps(other), same && first <= end && theirs <= last);
            assert_eq!(net.contains(other.first), same && (first..=last).contains(&theirs));
        }
    }
}

fn range(net: &Subnet) -> (u128, u128) {
    let number = |address| match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => u128::from(v6),
    };
    (number(net.first), number(net.last()))
}
