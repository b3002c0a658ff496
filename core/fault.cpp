#include "core/fault.hpp"

#include <utility>

namespace rooster {

// No default: a new Fault does not compile until it has its row here (and one in docs/faults.md,
// see tests/rules).
FaultText describe(Fault fault) {
  using enum Origin;
  switch (fault) {
    case Fault::None:
      return {"-", "", 0, Proxy, ""};
    case Fault::BadRequest:
      return {"bad_request", "", 400, Client, "The request is not valid HTTP/1.1."};
    case Fault::BadFraming:
      return {"bad_framing", "", 400, Client,
              "Content-Length and Transfer-Encoding must frame the body in one way only."};
    case Fault::BadHost:
      return {"bad_host", "", 400, Client, "Send exactly one valid Host header."};
    case Fault::HeadTooLarge:
      return {"head_too_large", "", 431, Client, "Send fewer or shorter header fields."};
    case Fault::TargetTooLong:
      return {"target_too_long", "", 414, Client, "Use a shorter URL."};
    case Fault::HeadTimeout:
      return {"head_timeout", "", 408, Client, "Send the whole request head sooner."};
    case Fault::BodyTimeout:
      return {"body_timeout", "", 408, Client, "Send the request body faster."};
    case Fault::BadChunk:
      return {"bad_chunk", "", 400, Client, "The chunked body is malformed."};
    case Fault::BodyTooLarge:
      return {"body_too_large", "PA01", 413, Client, "Send a smaller body."};
    case Fault::MethodNotAllowed:
      return {"method_not_allowed", "", 405, Client, "CONNECT and TRACE are not served here."};
    case Fault::VersionNotSupported:
      return {"version_not_supported", "", 505, Client, "Use HTTP/1.1 or HTTP/1.0."};
    case Fault::Misdirected:
      return {"misdirected", "", 421, Client, "Open a new connection for this host name."};
    case Fault::NoRoute:
      return {"no_route", "", 404, Client, "No app here has this host name; check the URL."};
    case Fault::BadProxyHeader:
      return {"bad_proxy_header", "", 0, Client,
              "Send a PROXY header first: [listen] proxy_protocol_from asks for it."};
    case Fault::TlsRequired:
      return {"tls_required", "", 0, Client,
              "Connect with TLS: sslmode=require or, better, sslmode=verify-full."};
    case Fault::ClientLeft:
      return {"client_left", "", 499, Client, "The client closed early."};
    case Fault::NotWakeable:
      return {"not_wakeable", "PM06", 503, Machine,
              "Nothing can start this app: give it a command, an image or an address."};
    case Fault::AutostartOff:
      return {"autostart_off", "PM08", 503, Machine,
              "All machines are stopped and auto_start_machines is false; start one by hand."};
    case Fault::WakePolicy:
      return {"wake_policy", "PM10", 503, Machine,
              "The app sleeps and its wake policy does not let this request wake it."};
    case Fault::WakeQueueFull:
      return {"wake_queue_full", "PR03", 503, Proxy, "Too many requests wait already; retry soon."};
    case Fault::WakeTimeout:
      return {"wake_timeout", "PM03", 504, Machine,
              "The app did not get ready in time; look at its logs or raise wake_timeout."};
    case Fault::WakeBackoff:
      return {"wake_backoff", "PM02", 503, Machine,
              "The app failed to start a moment ago; it is tried again after Retry-After."};
    case Fault::ExecFailed:
      return {"exec_failed", "PM07", 503, Machine,
              "The app's command could not be executed; check its path and permissions."};
    case Fault::ExitedBeforeReady:
      return {"exited_before_ready", "PM05", 503, Machine,
              "The app exited before it was ready; its last output is in the log."};
    case Fault::ListensElsewhere:
      return {"listens_elsewhere", "PC01", 503, Machine,
              "The app runs but does not listen on its internal_port; make them agree."};
    case Fault::PortTaken:
      return {"port_taken", "PM07", 503, Machine,
              "Another process holds the app's internal_port; use $PORT or another port."};
    case Fault::StopPending:
      return {"stop_pending", "PM08", 503, Machine,
              "The app is stopping; retry after Retry-After."};
    case Fault::StartFailed:
      return {"start_failed", "PM01", 503, Machine, "The machine could not be started."};
    case Fault::CapacityTimeout:
      return {"capacity_timeout", "PR03", 503, Machine,
              "Every machine is at its hard_limit; retry, or add machines."};
    case Fault::NoHealthyMachine:
      return {"no_healthy_machine", "PR01", 503, Machine, "The app has no machine to serve this."};
    case Fault::UpstreamRefused:
      return {"upstream_refused", "PC01", 502, Upstream,
              "The app refused the connection; it must listen on 0.0.0.0:<internal_port>."};
    case Fault::UpstreamConnectTimeout:
      return {"upstream_connect_timeout", "PC05", 504, Upstream,
              "The app did not accept the connection in time."};
    case Fault::UpstreamReset:
      return {"upstream_reset", "PC03", 502, Upstream,
              "The app closed the connection before it answered."};
    case Fault::UpstreamTimeout:
      return {"upstream_timeout", "PU02", 504, Upstream, "The app did not answer in time."};
    case Fault::UpstreamBadResponse:
      return {"upstream_bad_response", "PU02", 502, Upstream,
              "The app's response is not valid HTTP."};
    case Fault::UpstreamTruncated:
      return {"upstream_truncated", "PU02", 502, Upstream,
              "The app closed the connection inside its response."};
    case Fault::UpstreamUnresolved:
      return {"upstream_unresolved", "PC02", 502, Upstream, "The app's address does not resolve."};
    case Fault::AppExited:
      return {"app_exited", "PC03", 502, Machine, "The app exited meanwhile."};
    case Fault::BadToken:
      return {"bad_token", "", 401, Client,
              "The token is unknown, has ended or was revoked; ask for another and log in again."};
    case Fault::TokenBackoff:
      return {"token_backoff", "", 429, Client,
              "Too many bad tokens came from this address; try again in a minute."};
    case Fault::NotAllowed:
      return {"not_allowed", "", 403, Client,
              "The token does not give this right, or not for this app."};
    case Fault::NoSuchPeer:
      return {"no_such_peer", "", 404, Client,
              "There is no peer of this name; rooster wireguard list shows them."};
    case Fault::PeerExists:
      return {"peer_exists", "", 409, Client,
              "A peer of this name or key is there already; choose another name."};
    case Fault::TooManyPeers:
      return {"too_many_peers", "", 429, Client,
              "This token has as many live peers as it may have; end some of its commands."};
    case Fault::PeerLimit:
      return {"peer_limit", "", 429, Client,
              "This peer or its network has too many connections; close some, or come slower."};
    case Fault::UndeclaredPort:
      return {"undeclared_port", "", 503, Machine,
              "The machine sleeps and this port is of none of its services; declare it as one's "
              "internal_port."};
    case Fault::ListensOnLoopback:
      return {"listens_on_loopback", "PC01", 502, Machine,
              "The app listens on this port only on loopback; bind 0.0.0.0 or [::]."};
    case Fault::EgressDenied:
      return {"egress_denied", "", 403, Client,
              "Machines may not reach this address: it is the node's own, or a private one."};
    case Fault::TlsHandshake:
      return {"tls_handshake", "PT04", 0, Client, "TLS handshake failed."};
    case Fault::HandshakeLimit:
      return {"handshake_limit", "", 0, Client,
              "Too many TLS handshakes from this network or for this name; come slower."};
    case Fault::DescriptorsExhausted:
      return {"descriptors_exhausted", "PP01", 503, Proxy, "The proxy is out of descriptors."};
    case Fault::Draining:
      return {"draining", "", 503, Proxy, "The proxy is shutting down; retry."};
    case Fault::DrainDeadline:
      return {"drain_deadline", "", 503, Proxy, "Cut at drain_timeout."};
    case Fault::MidFrame:
      return {"mid_frame", "", 0, Proxy, "WebSocket cut inside a frame."};
    case Fault::IdleTimeout:
      return {"idle_timeout", "", 408, Client, "The connection was idle."};
    case Fault::Interrupted:
      return {"interrupted", "", 503, Proxy, "Interrupted."};
    case Fault::Internal:
      return {"internal", "", 500, Proxy, "An error of ours; it is in the log."};
  }
  std::unreachable();
}

}  // namespace rooster
