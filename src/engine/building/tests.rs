//! Makings that are cut short wherever they can be, and gone on with.

mod begins;
mod crashes;
mod origin;
mod resumes;
mod spoilt;
