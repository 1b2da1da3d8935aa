//! Amounts of bytes and time as lxc-info prints them.

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// `1.14 MiB`, `756.00 KiB`, `90 bytes`: two digits, rounded as printf does it (`size_humanize` of
/// LXC's lxc_info.c). A value equal to a unit stays in the smaller one, as there.
pub fn human(bytes: u64) -> String {
    let (unit, name) = match bytes {
        b if b > GIB => (GIB, "GiB"),
        b if b > MIB => (MIB, "MiB"),
        b if b > KIB => (KIB, "KiB"),
        b => return format!("{b} bytes"),
    };
    let (scaled, unit) = (u128::from(bytes) * 100, u128::from(unit));
    let (cut, rest) = (scaled / unit, scaled % unit);
    // Half goes to the even neighbour.
    let hundredths = cut + u128::from(rest * 2 + cut % 2 > unit);
    format!("{}.{:02} {name}", hundredths / 100, hundredths % 100)
}

/// Nanoseconds as `0.01 seconds`, rounded.
pub fn cpu_seconds(nanoseconds: u64) -> String {
    let hundredths = nanoseconds.saturating_add(5_000_000) / 10_000_000;
    format!("{}.{:02} seconds", hundredths / 100, hundredths % 100)
}

/// Bytes as `1.14MB`: what lxc-ls calls MB are units of 1048576, rounded.
pub fn megabytes(bytes: u64) -> String {
    let hundredths = (u128::from(bytes) * 100 + u128::from(MIB / 2)) / u128::from(MIB);
    format!("{}.{:02}MB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_sizes_are_those_of_lxc_info() {
        assert_eq!(human(0), "0 bytes");
        assert_eq!(human(1024), "1024 bytes");
        assert_eq!(human(774_144), "756.00 KiB");
        assert_eq!(human(1_196_032), "1.14 MiB");
        assert_eq!(human(16_472), "16.09 KiB");
        assert_eq!(human(13_322), "13.01 KiB");
        assert_eq!(human(1152), "1.12 KiB");
        assert_eq!(human(1408), "1.38 KiB");
        assert_eq!(human((1 << 20) - 1), "1024.00 KiB");
        assert_eq!(human(u64::MAX), "17179869184.00 GiB");
    }

    #[test]
    fn times_and_megabytes() {
        assert_eq!(cpu_seconds(12_345_678), "0.01 seconds");
        assert_eq!(cpu_seconds(15_031_747), "0.02 seconds");
        assert_eq!(cpu_seconds(61_999_999_999), "62.00 seconds");
        assert_eq!(megabytes(0), "0.00MB");
        assert_eq!(megabytes(1 << 20), "1.00MB");
        assert_eq!(megabytes(1_196_032), "1.14MB");
    }
}
