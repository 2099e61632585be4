//! Segments, privilege levels, gates, tasks and long mode, on small guests.

mod contexts;
mod debug;
mod double_faults;
mod faults;
mod guest;
mod hypervisor;
mod long;
mod paging;
mod protection;
mod registers;
mod smm;
mod tables;
mod tasks;
mod transfers;
mod v86;
