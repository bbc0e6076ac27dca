//! `--insecure`: which protections are switched off, each by itself, and loudly.

use std::sync::Once;

use appc::transport::Settings;

pub use appc::config::Protection;

/// The option.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Insecure {
    /// Switch protections off; without a list, tls and http
    #[arg(
        long,
        global = true,
        value_name = "LIST",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = "tls,http"
    )]
    insecure: Vec<Protection>,
}

impl Insecure {
    /// With these switched off.
    #[allow(dead_code, reason = "one of the programs has a configuration")]
    pub fn of(protections: &[Protection]) -> Self {
        Self { insecure: protections.to_vec() }
    }

    /// What a command line names.
    #[allow(dead_code, reason = "one of the programs has a configuration")]
    pub fn named(&self) -> Option<&[Protection]> {
        Some(self.insecure.as_slice()).filter(|named| !named.is_empty())
    }

    /// Whether this one is switched off.
    pub fn is(&self, protection: Protection) -> bool {
        self.insecure.contains(&protection)
    }

    /// Switches it off in `settings`, and says so on stderr.
    pub fn apply(&self, program: &str, settings: &mut Settings) {
        settings.insecure_tls |= self.is(Protection::Tls);
        settings.insecure_http |= self.is(Protection::Http);
        let told = [
            (Protection::Tls, "tls: certificates are not checked, anyone on the way can read and change what comes"),
            (Protection::Http, "http: plain http is used where https gives nothing, anyone can read and change it"),
            (Protection::Signature, "signature: images are taken that nobody trusted has signed"),
        ];
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            for (_, what) in told.iter().filter(|(protection, _)| self.is(*protection)) {
                eprintln!("{program}: WARNING: --insecure={what}");
            }
        });
    }
}
