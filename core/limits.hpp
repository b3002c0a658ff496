// Every built-in bound in one place (docs/limits.md is this table in words). A bound that an
// operator can set has its default here.
#pragma once

#include <chrono>
#include <cstddef>

namespace rooster::limits {

using namespace std::chrono_literals;

// Heads (RFC 9110 §5.4 leaves the bounds to us).
inline constexpr std::size_t kMaxHeadBytes = 64 * 1024;
inline constexpr std::size_t kMaxFields = 100;
inline constexpr std::size_t kMaxFieldBytes = 16 * 1024;
inline constexpr std::size_t kMaxTargetBytes = 8 * 1024;
inline constexpr int kMaxInterimResponses = 16;
inline constexpr int kMaxLeadingEmptyLines = 2;  // RFC 9112 §2.2

// Times.
inline constexpr auto kHeadTimeout = 10s;
inline constexpr auto kHandshakeTimeout = 10s;
inline constexpr auto kProxyHeaderTimeout = 5s;
inline constexpr auto kIdleClientTimeout = 75s;
inline constexpr auto kConnectTimeout = 1s;
inline constexpr auto kFirstByteTimeout = 60s;
inline constexpr auto kLingerTime = 2s;
inline constexpr auto kDiscardTime = 1s;
inline constexpr std::size_t kDiscardBytes = 256 * 1024;
inline constexpr auto kTick =
    100ms;  // the timer wheel's step: deadlines fire up to one step late, never early

// A body must keep this pace, averaged over the window.
inline constexpr std::size_t kMinBodyBytesPerSecond = 240;
inline constexpr auto kBodyRateWindow = 30s;

// Connections.
inline constexpr std::size_t kMaxConnectionsPerSource = 2048;  // per IPv4 address or IPv6 /64
// TLS handshakes a second, and how many may come at once: of a /24 or /48, and naming one server.
inline constexpr std::size_t kHandshakesPerRange = 200;
inline constexpr std::size_t kHandshakeBurstPerRange = 1000;
inline constexpr std::size_t kHandshakesPerName = 1000;
inline constexpr std::size_t kHandshakeBurstPerName = 4000;
inline constexpr std::size_t kMaxServicePorts = 768;  // of services, beside [listen]'s
inline constexpr std::size_t kReadBufferBytes = 16 * 1024;
inline constexpr std::size_t kRelayBytes = 64 * 1024;      // one read, four TLS records, one send
inline constexpr std::size_t kMaxRelayBytes = 256 * 1024;  // where the other side takes all at once

// Compression: encoders of one worker in use, at most 2 MiB each; beyond, bodies go as they are.
inline constexpr std::size_t kEncoders = 64;
inline constexpr std::size_t kMinCompressedBytes = 512;  // less is not worth the fields it costs
inline constexpr std::size_t kEncodedAtOnceBytes = 32 * 1024;

// HTTP/2 from clients (RFC 9113 §6.5.2).
inline constexpr std::size_t kH2Streams = 128;
inline constexpr std::size_t kH2StreamWindow = 64 * 1024;  // a request's body nobody takes yet
inline constexpr std::size_t kH2ConnectionWindow = 1024 * 1024;

// Statics, of one worker: files known, and up to which size one is kept in memory.
inline constexpr std::size_t kStaticFiles = 128;
inline constexpr std::size_t kStaticKeptBytes = 64 * 1024;
inline constexpr auto kStaticLookAgain = 1s;
inline constexpr auto kStaticTimeout = 10s;

// Shares of the descriptor budget (of RLIMIT_NOFILE's hard limit), in percent.
inline constexpr std::size_t kClientShare = 78;
inline constexpr std::size_t kUpstreamShare = 14;

// Waiting for a wake.
inline constexpr std::size_t kWaitingShareOfOneApp = 85;  // percent of max_waiting
inline constexpr std::size_t kWaitingGuaranteed = 64;     // places every other app can count on
inline constexpr std::size_t kWaitingBytes = 256 * 1024 * 1024;
inline constexpr std::size_t kWaitingBytesEach = 64 * 1024;

// Upstream pools.
inline constexpr auto kPoolIdle = 4s;               // as Fly's proxy
inline constexpr auto kPoolIdleNonIdempotent = 1s;  // a POST takes only a connection idle for less
inline constexpr std::size_t kSlowStartConnections = 16;
inline constexpr std::size_t kUpstreamConnections = 256;  // per machine, where no hard_limit is set
inline constexpr std::size_t kUpstreamStreams = 128;      // on one HTTP/2 connection to an app
inline constexpr std::size_t kUpstreamWindowBytes = 256 * 1024;  // of one such stream's response
inline constexpr int kMaxAttempts = 3;

// The private network: what one peer, and one network, may take of a node.
inline constexpr std::size_t kPeerConnections = 512;
inline constexpr std::size_t kPeerNewPerSecond = 1500;  // a burst of as many may come at once
inline constexpr std::size_t kPeerWaiting = 64;         // for a wake
inline constexpr std::size_t kNetworkShare = 50;        // percent of all clients
inline constexpr auto kEgressConnectTimeout = 10s;

// Access log.
inline constexpr std::size_t kLogRingBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kLogRecordBytes = 4 * 1024;

}  // namespace rooster::limits
