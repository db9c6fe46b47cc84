//! The versions of an API.

use super::Named;

settings! {
    /// The versions of an API. Routes choose the upstream by the header x-tollbell-version, which the filter sets to the name
    /// of the version.
    #[derive(Debug)]
    pub struct Versioning {
        /// Where a request names its version: in a header, in a url-param, or in the url, as the first segment of the path
        /// behind listen_path.
        #[schemars(extend("enum" = ["", "header", "url-param", "url"]))]
        pub location: String,
        /// The header or the parameter.
        pub key: String,
        /// The version of requests that name none; empty: they are refused.
        pub default_version: String,
        /// A request that names an unknown version gets the default one.
        pub fallback_to_default: bool,
        /// Take the version's name out of the request before it goes upstream.
        pub strip_versioning_data: bool,
        /// The versions by name. A right must name them, unless they are APIs of their own.
        pub versions: Named<Version>,
    }

    /// A version.
    #[derive(Debug)]
    pub struct Version {
        /// When it ends, in UTC, such as 2030-12-31 23:59; empty or -1: never.
        pub expires: String,
        /// The API that it is, by its id: the API's authentication, rights and limits are those of the version. Empty for one
        /// that is not an API of its own.
        pub api_id: String,
    }
}
