//! The names of attributes: the semantic conventions as a table.
//!
//! The released conventions are 1.44; the crate carries 1.42. Between the two nothing listed here was renamed, added or
//! removed (the schema file of 1.44.0 and CHANGELOG.md of open-telemetry/semantic-conventions).

pub use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, CONTAINER_ID, CONTAINER_IMAGE_NAME, CONTAINER_IMAGE_TAGS, ERROR_TYPE, HOST_ARCH, HOST_ID,
    HOST_NAME, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_REQUEST_RESEND_COUNT,
    HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, K8S_CONTAINER_NAME, K8S_CONTAINER_RESTART_COUNT, K8S_CRONJOB_NAME,
    K8S_CRONJOB_UID, K8S_DAEMONSET_NAME, K8S_DAEMONSET_UID, K8S_DEPLOYMENT_NAME, K8S_DEPLOYMENT_UID,
    K8S_JOB_NAME, K8S_JOB_UID, K8S_NAMESPACE_NAME, K8S_NODE_NAME, K8S_POD_NAME, K8S_POD_UID,
    K8S_REPLICASET_NAME, K8S_REPLICASET_UID, K8S_STATEFULSET_NAME, K8S_STATEFULSET_UID, NETWORK_PEER_ADDRESS,
    NETWORK_PEER_PORT, NETWORK_PROTOCOL_VERSION, OS_DESCRIPTION, OS_NAME, OS_TYPE, OS_VERSION,
    PROCESS_CREATION_TIME, PROCESS_EXECUTABLE_NAME, PROCESS_EXECUTABLE_PATH, PROCESS_PARENT_PID, PROCESS_PID,
    PROCESS_RUNTIME_DESCRIPTION, PROCESS_RUNTIME_NAME, PROCESS_RUNTIME_VERSION, PROCESS_VPID, RPC_METHOD,
    RPC_METHOD_ORIGINAL, RPC_RESPONSE_STATUS_CODE, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT,
    SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION, TELEMETRY_DISTRO_NAME,
    TELEMETRY_DISTRO_VERSION, TELEMETRY_SDK_LANGUAGE, TELEMETRY_SDK_NAME, TELEMETRY_SDK_VERSION, URL_FULL,
    URL_PATH, URL_QUERY, URL_SCHEME, USER_AGENT_ORIGINAL,
};

/// The conventions that all of this follows.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Up to the conventions 1.37, in place of [`RPC_SYSTEM_NAME`].
pub const OLD_RPC_SYSTEM: &str = "rpc.system";
/// Up to 1.37: what stands before the method, which was [`RPC_METHOD`] alone.
pub const OLD_RPC_SERVICE: &str = "rpc.service";
/// Up to 1.37, in place of [`RPC_RESPONSE_STATUS_CODE`]: a number.
pub const OLD_RPC_GRPC_STATUS_CODE: &str = "rpc.grpc.status_code";
/// Up to 1.37, in place of [`RPC_RESPONSE_STATUS_CODE`]: of errors alone.
pub const OLD_RPC_CONNECT_ERROR_CODE: &str = "rpc.connect_rpc.error_code";

/// What stands before the name of a header, in lower case, whose values are the attribute's.
pub const HTTP_REQUEST_HEADER: &str = "http.request.header";

/// How the parent was found: `incoming`, `context`, `goroutine` or `parent_goroutine`. Not on roots.
pub const PARENT_RULE: &str = "lightfoot.parent.rule";
/// True where the parent is an inference: the one documented way to be wrong.
pub const PARENT_INFERRED: &str = "lightfoot.parent.inferred";
/// The messages that a stream has sent, if they are counted. The conventions have none.
pub const MESSAGES_SENT: &str = "lightfoot.rpc.messages.sent";
/// Those that it has received.
pub const MESSAGES_RECEIVED: &str = "lightfoot.rpc.messages.received";
/// Which piece this is of a call that was open for long, from 1; not on whole ones.
pub const SEGMENT: &str = "lightfoot.segment";
/// True where the call was still open at the end of the piece.
pub const SEGMENT_OPEN: &str = "lightfoot.segment.open";
/// The attributes of this span whose values were cut at a limit, by name.
pub const TRUNCATED: &str = "lightfoot.truncated";
