//! Nodes of the cluster, and this one.

use serde_json::{Value, json};
use sparkway_gateway::Phase;
use sparkway_gateway::desk::Wished;
use sparkway_protocol::Code;

use crate::answer::{Answered, Reply};
use crate::call::Call;
use crate::problem::Problem;
use crate::shape::{Components, Shape, object, shapes, words};

shapes! {
    /// The nodes of the cluster.
    Nodes {
        /// Those whose lease holds, by name.
        items: Vec<Member>,
    }

    /// A node.
    Member {
        /// Its name.
        node: String,
        /// What it is doing.
        state: NodeState,
        /// Its connections, as last said.
        connections: u64,
        /// Reconnects per second that it could take over from draining nodes.
        spare_accepts_per_second: u64,
        /// Whether it is the one that answers.
        answers: bool,
    }

    /// What was wished of a node.
    Wish {
        /// The node.
        node: String,
        /// What it will be doing.
        state: NodeState,
    }

    /// The effective configuration of the node that answers.
    Configuration {
        /// Every key, in the order of the reference.
        items: Vec<Setting>,
    }

    /// The node that answers.
    Info {
        /// Its name.
        node: String,
        /// Version of the gateway.
        version: String,
        /// What it is doing.
        state: NodeState,
        /// Its connections.
        connections: u64,
        /// Sessions that it serves.
        sessions: u64,
        /// Partitions of the data.
        partitions: u64,
        /// Its time, in Unix milliseconds.
        now: u64,
        /// Longest message, in bytes.
        message_bytes_max: u64,
        /// How long a session without connection can be resumed, in milliseconds.
        resume_window_ms: u64,
    }
}

/// A key of the configuration, as it counts on this node.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// Its value; secrets are hidden by whoever made it.
    pub value: String,
    /// Where it was written.
    pub origin: String,
}

impl Shape for Setting {
    fn schema(to: &mut Components) -> Value {
        let text = |what: &str| {
            (
                what.to_owned(),
                String::schema(&mut Components::default()),
                false,
            )
        };
        let field = |name, what| {
            let (what, schema, optional) = text(what);
            (name, what, schema, optional)
        };
        let schema = object(
            "A key of the configuration.",
            vec![
                field("key", "Its name."),
                field("value", "Its value; secrets are hidden."),
                field("origin", "Where it was written."),
            ],
        );
        to.0.insert("Setting", schema);
        json!({"$ref": "#/components/schemas/Setting"})
    }
}

words! {
    /// What a node is doing.
    NodeState {
        /// It serves.
        Ready = "ready",
        /// It sends its clients away.
        Draining = "draining",
    }
}

const fn state(draining: bool) -> NodeState {
    if draining {
        NodeState::Draining
    } else {
        NodeState::Ready
    }
}

/// `GET /v1/nodes`.
pub(crate) async fn list(call: Call) -> Answered {
    let mut leases = call.desk.store().nodes().await?;
    leases.sort_by(|one, other| one.node.cmp(&other.node));
    let items = leases.into_iter().map(|lease| {
        let answers = lease.node == *call.desk.node();
        // Of itself the node knows better than its lease.
        let (draining, connections) = if answers {
            (is_draining(&call), call.desk.connections())
        } else {
            (lease.draining, lease.connections)
        };
        Member {
            node: lease.node.to_string(),
            state: state(draining),
            connections,
            spare_accepts_per_second: u64::from(lease.spare_accepts_per_second),
            answers,
        }
    });
    Reply::ok(&Nodes {
        items: items.collect(),
    })
}

/// `GET /v1/info`.
pub(crate) fn info(call: &Call) -> Answered {
    let (desk, settings) = (&call.desk, call.desk.settings());
    let window = settings.session.resume_window.as_millis();
    Reply::ok(&Info {
        node: desk.node().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: state(is_draining(call)),
        connections: desk.connections(),
        sessions: desk.sessions() as u64,
        partitions: u64::from(desk.layout().count()),
        now: desk.now_ms(),
        message_bytes_max: settings.limits.message_bytes as u64,
        resume_window_ms: u64::try_from(window).unwrap_or(u64::MAX),
    })
}

/// `POST` and `DELETE /v1/nodes/{node}/drain`.
pub(crate) async fn drain(call: Call, go: bool) -> Answered {
    let node = call.node()?;
    match call.desk.drain(&node, go).await? {
        Wished::Told => Reply::accepted(&Wish {
            node: node.to_string(),
            state: state(go),
        }),
        Wished::Unknown => Err(Problem::not_found("no such node")),
        Wished::TooLate => Err(Problem::new(
            Code::Conflict,
            "the node is closing connections already and will end",
        )),
    }
}

/// `GET /v1/config`.
pub(crate) fn configuration(call: &Call) -> Answered {
    Reply::ok(&Configuration {
        items: call.configuration.to_vec(),
    })
}

fn is_draining(call: &Call) -> bool {
    call.desk.phase() != Phase::Serving
}
