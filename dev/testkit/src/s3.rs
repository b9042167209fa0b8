//! A real S3 server over a folder: s3s speaks the protocol and checks signatures, s3s-fs keeps the
//! objects.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;

use crate::server::Server;

mod atomic;

use atomic::Atomic;
pub use atomic::Conditions;

/// An S3 server on this machine, with one bucket. It ends, and its objects go, when this is
/// dropped.
///
/// It takes requests in path style only, signed with [`S3::ACCESS_KEY`] and [`S3::SECRET_KEY`].
/// Object names are bounded: about 120 bytes, prefix included, because s3s-fs makes file names of
/// them.
pub struct S3 {
    server: Server,
    folder: TempDir,
}

impl S3 {
    /// The bucket that is there from the start.
    pub const BUCKET: &'static str = "tidegate";
    /// Id of the only key that is accepted.
    pub const ACCESS_KEY: &'static str = "AKIATIDEGATETESTING1";
    /// Its secret.
    pub const SECRET_KEY: &'static str = "between/two+tides/there/is/a/quiet/hour1";
    /// A region, which clients have to name; any will do.
    pub const REGION: &'static str = "eu-central-1";

    /// Starts one on a free port.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts one at an address.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub fn start_at(address: SocketAddr) -> Self {
        Self::serve(address, Conditions::Kept)
    }

    /// Starts one on a free port that treats conditional puts so.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn start_with(conditions: Conditions) -> Self {
        Self::serve(SocketAddr::from(([127, 0, 0, 1], 0)), conditions)
    }

    fn serve(address: SocketAddr, conditions: Conditions) -> Self {
        let folder = TempDir::with_prefix("tidegate-s3-").expect("a temporary folder");
        std::fs::create_dir(folder.path().join(Self::BUCKET)).expect("a new folder is writable");
        let files = FileSystem::new(folder.path()).expect("the folder is there");
        let mut service = S3ServiceBuilder::new(Atomic::new(files, conditions));
        service.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY, Self::SECRET_KEY));
        let service = service.build();
        let server = Server::start("s3", address, move |_| service.clone());
        S3 { server, folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The endpoint that clients are given: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The folder with the bucket's objects, as files.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join(Self::BUCKET)
    }

    /// Uploads that were begun and neither completed nor aborted.
    ///
    /// # Panics
    ///
    /// If the folder cannot be read.
    pub fn open_uploads(&self) -> usize {
        let is_upload = |path: &Path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(".upload-"))
        };
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder is there");
        entries
            .filter(|entry| entry.as_ref().is_ok_and(|entry| is_upload(&entry.path())))
            .count()
    }

    /// What a process has to have in its environment so that the AWS credential chain finds the
    /// keys and the region.
    pub fn environment() -> [(&'static str, &'static str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", Self::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", Self::SECRET_KEY),
            ("AWS_REGION", Self::REGION),
        ]
    }
}
