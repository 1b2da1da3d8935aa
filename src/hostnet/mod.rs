//! The host's own network for containers, as lxc-net makes it: a bridge with addresses, DHCP and
//! DNS by dnsmasq, NAT by nft or iptables, out of /etc/default/lxc-net.
//!
//! [`load`] reads the settings, [`start()`] makes what is missing of them, [`stop()`] takes back what
//! was made, [`status::survey`] and [`doctor::examine`] only look. Nothing here knows of containers.

mod dnsmasq;
pub mod doctor;
pub mod error;
mod firewall;
mod made;
mod ports;
mod program;
pub mod settings;
mod start;
pub mod status;
pub mod subnet;
pub mod vars;
mod walls;

pub use dnsmasq::Lease;
pub use error::HostNetError;
pub use settings::{Settings, Side};
pub use start::{Stopped, start, stop};

use crate::util::blame::Origin;

/// Where the settings are; what the second says counts before the first, which on Debian includes
/// it anyway.
pub const FILES: [&str; 2] = ["/etc/default/lxc", "/etc/default/lxc-net"];

/// The settings of this host.
pub enum Wanted {
    /// What lxc-net is to make.
    On(Box<Settings>),
    /// It is turned off there.
    Off(Origin),
}

/// Reads the settings. The remarks name what is not understood.
pub fn load() -> Result<(Wanted, Vec<String>), HostNetError> {
    let (settings, notes) = settings::settings(&vars::Variables::load(&FILES)?)?;
    Ok((settings.map_or_else(Wanted::Off, |s| Wanted::On(Box::new(s))), notes))
}

/// True if the DHCP and DNS service of [`start()`] runs.
pub fn dnsmasq_running() -> bool {
    dnsmasq::running().is_some()
}

/// Where dnsmasq is.
///
/// # Errors
/// It is not installed.
pub fn dnsmasq_program() -> Result<String, HostNetError> {
    dnsmasq::find()
}
