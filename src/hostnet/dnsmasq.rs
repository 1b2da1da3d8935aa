//! Debian's dnsmasq as the DHCP and DNS service of the bridge, with the files where LXC has them.

use super::error::Fault;
use crate::hostnet::error::{HostNetError, system};
use crate::hostnet::program;
use crate::hostnet::settings::Settings;
use crate::sys::event::{self, Ready};
use crate::sys::process::{self, Pid};
use crate::sys::{dir, dirs, errno, fd, nsfile, passwd};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// LXC's place.
pub(super) const PID_FILE: &str = "/run/lxc/dnsmasq.pid";
const LEASES_DIR: &str = "/var/lib/misc";

/// The first of these that the host has; dnsmasq itself falls back to nobody.
const USERS: [&str; 3] = ["lxc-dnsmasq", "dnsmasq", "nobody"];

/// SIGTERM and SIGKILL.
const TERM: i32 = 15;
const KILL: i32 = 9;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it ends, in seconds since 1970; 0 is never.
    pub until: u64,
    /// Hardware address.
    pub mac: String,
    /// Address.
    pub address: String,
    /// The name that the container gave, if it did.
    pub name: Option<String>,
}

/// Where the leases of a bridge are.
fn leases_file(bridge: &str) -> String {
    format!("{LEASES_DIR}/dnsmasq.{bridge}.leases")
}

/// The leases of a bridge; none if there never were any.
pub fn leases(bridge: &str) -> Vec<Lease> {
    parse_leases(&fd::read_to_string(leases_file(bridge)).unwrap_or_default())
}

fn parse_leases(text: &str) -> Vec<Lease> {
    let lease = |line: &str| {
        let mut fields = line.split(' ');
        Some(Lease {
            until: fields.next()?.parse().ok()?,
            mac: fields.next()?.to_owned(),
            address: fields.next()?.to_owned(),
            name: fields.next().filter(|name| *name != "*").map(str::to_owned),
        })
    };
    text.lines().filter_map(lease).collect()
}

/// The command line, but for the program itself.
fn arguments(s: &Settings, user: &str) -> Vec<String> {
    let bridge = &s.bridge.value;
    let v4 = s.v4.value.address;
    let mut args = vec![
        // Without one dnsmasq would read the host's /etc/dnsmasq.conf.
        format!("--conf-file={}", s.confile.as_deref().unwrap_or("/dev/null")),
        format!("--user={user}"),
        "--strict-order".into(),
        "--bind-interfaces".into(),
        format!("--pid-file={PID_FILE}"),
        format!("--listen-address={v4}"),
        format!("--dhcp-range={}", s.dhcp_range),
        format!("--dhcp-lease-max={}", s.dhcp_max),
        "--dhcp-no-override".into(),
        "--except-interface=lo".into(),
        format!("--interface={bridge}"),
        format!("--dhcp-leasefile={}", leases_file(bridge)),
        "--dhcp-authoritative".into(),
    ];
    if let Some(domain) = &s.domain {
        args.push(format!("--domain={domain}"));
        // Names of the domain are never asked for elsewhere.
        args.push(format!("--local=/{domain}/"));
    }
    if !s.ping {
        args.push("--no-ping".into());
    }
    if let Some(v6) = &s.v6 {
        let v6 = v6.value.address;
        // Routers' advertisements with the name server in them; containers configure themselves,
        // and the addresses that they take go by their names.
        args.push(format!("--dhcp-range={v6},ra-stateless,ra-names"));
        args.push(format!("--listen-address={v6}"));
        args.push("--enable-ra".into());
    }
    args
}

/// The running service of ours: by its pid file or, when that is lost, by its command line.
pub fn running() -> Option<Pid> {
    let written = fd::read_to_string(PID_FILE).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = written.filter(|pid| is_ours(*pid)) {
        return Some(pid);
    }
    processes().find(|pid| is_ours(*pid))
}

/// The numbers of all processes.
pub(super) fn processes() -> impl Iterator<Item = Pid> {
    let names = dirs::names(Path::new("/proc")).unwrap_or_default();
    names.into_iter().filter_map(|name| name.to_str()?.parse().ok())
}

fn command_line(pid: Pid) -> Option<Vec<String>> {
    let text = fd::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

/// True for a dnsmasq with our pid file (LXC's own script gives it the same way) in this network
/// namespace: another container's or test's has the same words.
fn is_ours(pid: Pid) -> bool {
    let words = command_line(pid).unwrap_or_default();
    let netns = |path: String| {
        let proc = dir::open_path(Path::new("/proc")).ok()?;
        nsfile::number_at(proc.as_fd(), &path).ok()
    };
    words.first().is_some_and(|word| word.ends_with("dnsmasq"))
        && words.iter().any(|word| word.strip_prefix("--pid-file=") == Some(PID_FILE))
        && netns(format!("{pid}/ns/net")) == netns("self/ns/net".into())
}

/// Looks for what a start needs, before anything is made.
pub(super) fn find() -> Result<String, HostNetError> {
    program::find("dnsmasq")
        .ok_or(Box::new(Fault::NoProgram { program: "dnsmasq", package: "dnsmasq-base" }))
}

/// Starts it, or has it as the settings want it by now.
pub(super) fn start(path: &str, s: &Settings) -> Result<(), HostNetError> {
    let users = passwd::users(Path::new("/etc/passwd")).unwrap_or_default();
    let user = USERS.iter().find(|name| users.iter().any(|user| user.name == **name));
    let mut wanted = vec![path.to_owned()];
    wanted.extend(arguments(s, user.unwrap_or(&"root")));
    if let Some(pid) = running() {
        if command_line(pid).as_ref() == Some(&wanted) {
            let file = Path::new(PID_FILE);
            let lost = system("writing the pid file that was lost");
            return match dirs::exists(file) {
                true => Ok(()),
                false => dirs::write_file(file, format!("{pid}\n").as_bytes()).map_err(lost),
            };
        }
        stop()?;
    }
    dirs::make_all(Path::new(LEASES_DIR), 0o755).map_err(system("making the leases' directory"))?;
    let words: Vec<&str> = wanted.iter().map(String::as_str).collect();
    program::run(&words).map(drop)
}

/// Ends it and waits until it has ended.
pub(super) fn stop() -> Result<(), HostNetError> {
    let failed = || system("ending dnsmasq");
    if let Some(pid) = running() {
        match end(pid) {
            Err(e) if !e.is(errno::ESRCH) => return Err(failed()(e)),
            _ => {}
        }
    }
    match dirs::unlink(Path::new(PID_FILE)) {
        Err(e) if !e.is(errno::ENOENT) => Err(failed()(e)),
        _ => Ok(()),
    }
}

fn end(pid: Pid) -> crate::sys::Result<()> {
    // FALLBACK(<5.3): no pidfd; its end is looked for by its number.
    let pidfd = process::pidfd_open(pid).ok();
    for (signal, seconds) in [(TERM, 5), (KILL, 5)] {
        process::send_signal(pid, pidfd.as_ref().map(AsFd::as_fd), signal)?;
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            match &pidfd {
                Some(fd) => {
                    if event::poll(fd.as_fd(), Ready::READ, Some(deadline))?.read {
                        return Ok(());
                    }
                }
                None if !is_ours(pid) => return Ok(()),
                None => event::sleep(Duration::from_millis(10)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostnet::settings::settings;
    use crate::hostnet::vars::Variables;

    fn words(text: &str) -> String {
        let (settings, _) = settings(&Variables::of(text).unwrap()).unwrap();
        arguments(&settings.unwrap(), "dnsmasq").join(" ")
    }

    #[test]
    fn the_command_line_has_lxcs_places() {
        let plain = words("");
        for part in [
            "--conf-file=/dev/null ",
            "--pid-file=/run/lxc/dnsmasq.pid ",
            "--dhcp-leasefile=/var/lib/misc/dnsmasq.lxcbr0.leases ",
            "--listen-address=10.0.3.1 --dhcp-range=10.0.3.2,10.0.3.254 --dhcp-lease-max=253 ",
            "--except-interface=lo --interface=lxcbr0 ",
        ] {
            assert!(plain.contains(part), "{part} in {plain}");
        }
        assert!(
            !plain.contains("domain") && !plain.contains("ping") && !plain.contains("enable-ra"),
            "{plain}"
        );
    }

    #[test]
    fn settings_become_options() {
        let all = words(
            "LXC_DOMAIN=lxc\nLXC_DHCP_PING=false\nLXC_DHCP_CONFILE=/etc/x\n\
             LXC_IPV6_ADDR=fd00::1\nLXC_BRIDGE=b1\n",
        );
        for part in [
            "--conf-file=/etc/x ",
            "--domain=lxc --local=/lxc/ --no-ping ",
            "--dhcp-range=fd00::1,ra-stateless,ra-names --listen-address=fd00::1 --enable-ra",
            "dnsmasq.b1.leases",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn leases_are_read() {
        let text = "1700000000 00:16:3e:11:22:33 10.0.3.77 c1 ff:1\n0 aa:bb:cc:dd:ee:ff 10.0.3.9 * *\n\
                    duid 00:01\n\n";
        let leases = parse_leases(text);
        assert_eq!(leases.len(), 2);
        assert_eq!((leases[0].name.as_deref(), leases[0].until), (Some("c1"), 1_700_000_000));
        assert_eq!((leases[1].name.as_deref(), leases[1].address.as_str()), (None, "10.0.3.9"));
    }
}
