//! The store of a fleet as written.

settings! {
    /// The store in which the Envoys of a fleet count together.
    #[derive(Debug, PartialEq)]
    pub struct Store {
        /// Redis or Valkey. Without it, there is no store.
        pub redis: Option<RedisStore>,
        /// leased: an Envoy reads ahead, so that most requests do not wait for the store. exact: each request waits for
        /// the store.
        #[schemars(extend("enum" = ["leased", "exact"]))]
        pub counting: String = "leased".to_owned(),
        /// How long a request waits for the store, in milliseconds.
        #[schemars(range(min = 1, max = 60_000))]
        pub patience_ms: u64 = 200,
        /// What happens if the store cannot be reached and nothing is left in stock. share: each worker admits its share
        /// of what was left when the store last answered. refuse: 503. admit: all requests pass.
        #[schemars(extend("enum" = ["share", "refuse", "admit"]))]
        pub on_loss: String = "share".to_owned(),
    }

    /// Redis or Valkey, through an Envoy cluster.
    #[derive(Debug, PartialEq)]
    pub struct RedisStore {
        /// The Envoy cluster. For resp it needs the TCP connection pool as its upstream_config (envoy/fleet.yaml).
        pub cluster: String = "tollbell_redis".to_owned(),
        /// resp: Redis's own protocol. upstash: the REST API of serverless Redis; it needs authority and token.
        #[schemars(extend("enum" = ["resp", "upstash"]))]
        pub protocol: String = "resp".to_owned(),
        /// single: one node, or the nodes of a Sentinel behind a health check. cluster: a Redis Cluster, whose nodes are
        /// reached through an Envoy cluster of the type ORIGINAL_DST with use_http_header.
        #[schemars(extend("enum" = ["single", "cluster"]))]
        pub mode: String = "single".to_owned(),
        /// The first nodes of a Redis Cluster, as IP address and port: 10.0.0.1:6379. They name the others.
        pub seeds: Vec<String>,
        /// The host of the REST API.
        pub authority: String,
        /// The bearer token of the REST API.
        pub token: String,
        /// The user for AUTH; empty for Redis's default user.
        pub username: String,
        /// The password for AUTH; empty for no AUTH.
        pub password: String,
        /// The number of the database. A Redis Cluster has none.
        #[schemars(range(max = 65_535))]
        pub database: u64,
        /// The start of all keys in the store. Fleets with different prefixes do not share counters.
        pub key_prefix: String = "tollbell".to_owned(),
        /// The time-out of one call, in milliseconds.
        #[schemars(range(min = 1, max = 60_000))]
        pub timeout_ms: u64 = 250,
    }
}
