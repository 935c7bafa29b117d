//! Close codes: the protocol's, which say to its clients whether to come back, and WebSocket's own.
//!
//! 4202 is never sent: it ends, after a day, clients that can't be asked for a sign of life, and those of every version
//! that is spoken here can. One that stays silent when asked is closed with 4201.

/// There is no app with that key. The client gives up.
pub(super) const NO_SUCH_KEY: u16 = 4001;
/// The app is switched off. The client gives up.
pub(super) const DISABLED: u16 = 4003;
/// The app has as many connections as it may. The client gives up: what it lacks is no moment's patience.
pub(super) const OVER_QUOTA: u16 = 4004;
/// The path names no app. The client gives up.
pub(super) const NO_SUCH_PATH: u16 = 4005;
/// The version is no number. The client gives up.
pub(super) const BAD_VERSION: u16 = 4006;
/// The version is not one that is spoken here. The client gives up.
pub(super) const OTHER_VERSION: u16 = 4007;
/// There is no version. The client gives up.
pub(super) const NO_VERSION: u16 = 4008;
/// The connection may not be: its origin isn't listed, or its user's connections were ended. The client gives up.
pub(super) const UNAUTHORISED: u16 = 4009;
/// There is no room, or it was too slow. The client comes back after a second.
pub(super) const OVER_CAPACITY: u16 = 4100;
/// The server stops. The client comes back at once.
pub(super) const STOPPING: u16 = 4200;
/// The reason that goes with [`STOPPING`].
pub(super) const STOPPING_WHY: &str = "the server is stopping, connect again";
/// No sign of life came when asked for. The client comes back at once.
pub(super) const NO_PONG: u16 = 4201;

/// WebSocket's: it broke the protocol's framing.
pub(super) const PROTOCOL: u16 = 1002;
/// WebSocket's: it sent bytes, and the protocol is of texts.
pub(super) const NOT_TEXT: u16 = 1003;
/// WebSocket's: a text was not UTF-8.
pub(super) const NOT_UTF8: u16 = 1007;
/// WebSocket's: a message was too large.
pub(super) const TOO_LARGE: u16 = 1009;
/// WebSocket's: our own code failed.
pub(super) const FAILED: u16 = 1011;
