//! A short soak; `make bench CASES=soak` has the long one.

use crate::machine;
use crate::machine::Machine;
use std::time::Duration;

#[path = "../bench/soak.rs"]
mod work;

#[test]
fn many_at_once_do_not_get_into_each_others_way() {
    let m = Machine::new();
    let time = Duration::from_secs(30);
    let figures = work::soak(&m, work::Size { workers: 12, containers: 40, time });
    println!("{figures}");
    assert_eq!(figures.wrong, Vec::<String>::new(), "{figures}");
}
