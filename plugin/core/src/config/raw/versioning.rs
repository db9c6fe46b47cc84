//! The versions of an API.

use super::Named;

settings! {
    /// The versions of an API. The filter sets the header x-tollbell-version to the name of the version, and Envoy's
    /// routes choose the upstream by it.
    #[derive(Debug)]
    pub struct Versioning {
        /// The place where a request names its version: header, url-param, or url for the first segment of the path
        /// after listen_path.
        #[schemars(extend("enum" = ["", "header", "url-param", "url"]))]
        pub location: String,
        /// The name of the header or the parameter.
        pub key: String,
        /// The version of requests that name none; if empty, these requests are refused.
        pub default_version: String,
        /// A request that names an unknown version gets the default version.
        pub fallback_to_default: bool,
        /// Removes the name of the version from the request before it goes upstream.
        pub strip_versioning_data: bool,
        /// The versions by name. Rights must name them, unless they are APIs of their own.
        pub versions: Named<Version>,
    }

    /// A version.
    #[derive(Debug)]
    pub struct Version {
        /// When the version ends, in UTC, such as 2030-12-31 23:59; empty or -1 means never.
        pub expires: String,
        /// The id of the API that the version is. That API's authentication, rights and limits apply. Empty if the
        /// version is not an API of its own.
        pub api_id: String,
    }
}
