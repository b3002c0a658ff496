// Fault: the one token that says why an exchange was refused, retried or cut. It is logged,
// counted, sent in the error page and in the Rooster-Fault header; this file is the whole
// vocabulary.
#pragma once

#include <cstdint>
#include <string_view>

namespace rooster {

/// Who caused a failure. Client gives a 4xx, the rest a 5xx.
enum class Origin : std::uint8_t { Client, Upstream, Machine, Tunnel, Proxy };

enum class Fault : std::uint8_t {
  None,
  // the client's request
  BadRequest,  ///< syntax of the head
  BadFraming,  ///< two parsers could read it differently
  BadHost,     ///< Host missing, doubled or malformed
  HeadTooLarge,
  TargetTooLong,
  HeadTimeout,  ///< head not complete within headers_read_timeout
  BodyTimeout,  ///< body slower than the minimum rate
  BadChunk,
  BodyTooLarge,      ///< an internal endpoint's bound
  MethodNotAllowed,  ///< CONNECT, TRACE
  VersionNotSupported,
  Misdirected,  ///< host not covered by the certificate of this connection
  NoRoute,
  BadProxyHeader,  ///< none, or a broken one, from a range that must send one
  TlsRequired,     ///< a port of pg_tls, without TLS
  ClientLeft,
  // waking
  NotWakeable,   ///< nothing can start it: no command, image or address
  AutostartOff,  ///< everything stopped and auto_start_machines = false
  WakePolicy,    ///< the app's policy does not let this request wake it
  WakeQueueFull,
  WakeTimeout,  ///< not ready within wake_timeout
  WakeBackoff,  ///< failed recently; Retry-After says when again
  ExecFailed,   ///< the command could not be executed
  ExitedBeforeReady,
  ListensElsewhere,  ///< it runs, but listens on another port or address
  PortTaken,         ///< another process holds its port
  StopPending,       ///< stopping for longer than the request may wait
  StartFailed,       ///< the driver failed
  CapacityTimeout,   ///< every machine at its hard limit for too long
  NoHealthyMachine,
  // the app's side
  UpstreamRefused,
  UpstreamConnectTimeout,
  UpstreamReset,        ///< connection lost before the response head was complete
  UpstreamTimeout,      ///< no response byte in time
  UpstreamBadResponse,  ///< response framing is not trustworthy
  UpstreamTruncated,    ///< response body shorter than announced
  UpstreamUnresolved,   ///< its hostname has no address
  AppExited,            ///< the machine exited with the exchange in flight
  // peers and tokens of the private network
  BadToken,      ///< unknown, ended or revoked
  TokenBackoff,  ///< too many bad ones from this source
  NotAllowed,    ///< the token's rights don't go that far
  NoSuchPeer,
  PeerExists,
  TooManyPeers,
  PeerLimit,          ///< more connections than one peer or network may have
  UndeclaredPort,     ///< of a machine that sleeps: only ports of services wake it
  ListensOnLoopback,  ///< the port is open, but not to the network
  EgressDenied,       ///< not a destination that machines may reach
  // ours
  TlsHandshake,
  HandshakeLimit,  ///< too many handshakes from one range of addresses, or for one name
  DescriptorsExhausted,
  Draining,
  DrainDeadline,
  MidFrame,  ///< tunnel cut inside a WebSocket frame after the drain's grace
  IdleTimeout,
  Interrupted,
  Internal,
};

/// One past the last Fault: the size of per-fault arrays.
inline constexpr std::size_t kFaultCount = static_cast<std::size_t>(Fault::Internal) + 1;

/// What is said about a Fault outside: never anything that came from a client.
struct FaultText {
  std::string_view token;  ///< e.g. "wake_timeout": log, metric, header
  std::string_view
      code;  ///< Fly's code where there is one (reference: fly.io error codes), e.g. "PM03"
  std::uint16_t status;  ///< HTTP status; 0 where no response can be sent
  Origin origin;
  std::string_view hint;  ///< one sentence for a person: what to do
};

FaultText describe(Fault fault);

}  // namespace rooster
