// ClientSide and UpstreamSide: what an exchange sees of its two ends, whatever protocol they speak
// (HTTP/1 here, HTTP/2 on either end behind the same two interfaces).
//
// Bodies are pulled: next_body() gives a piece that must be offered to the other side before the
// coroutine suspends (pieces lie in a buffer of the worker). offer_body() takes all of a piece, so
// it is called only while can_take().
#pragma once

#include "core/address.hpp"
#include "core/ids.hpp"
#include "core/loop.hpp"
#include "core/stream.hpp"
#include "proxy/access_log.hpp"
#include "proxy/client_head.hpp"
#include "proxy/request_head.hpp"
#include "proxy/response_head.hpp"
#include "proxy/upstream_head.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace rooster::proxy {

/// One attempt to get more of a body.
struct BodyPiece {
  enum class State : std::uint8_t {
    More,    ///< `bytes` (not empty), and there may be more
    Later,   ///< nothing now: wait for the side to be readable
    End,     ///< `bytes` (maybe empty) were the last
    Failed,  ///< `fault` says why; what came before was forwarded
  };
  State state = State::Later;
  std::string_view bytes;
  Fault fault = Fault::None;
};

class SourceLimit;

/// What is known of the client's connection, for the whole of its life.
struct ClientFacts {
  IpAddress peer_address;
  bool trusted = false;  ///< in trusted_proxies
  bool tls = false;
  TlsVersion tls_version = TlsVersion::None;
  std::string_view sni;
  std::uint16_t port = 0;        ///< external port: 80 or 443 by the listener's kind
  std::uint16_t local_port = 0;  ///< the port the listener is bound to
  HttpVersion version = HttpVersion::Http11;
  /// By a private address: the app whose it is, whatever Host says.
  std::optional<AppId> private_app{};
  SourceLimit* source_limit = nullptr;  ///< to be left when the connection ends
};

/// A client's connection, whatever it speaks. In WorkerContext::idle while it has no request.
class ClientSession : public Link {
 public:
  virtual ~ClientSession() = default;
  /// Ends it, idle as it is: another client needs its place.
  virtual void shed() = 0;
};

class ClientSide {
 public:
  virtual ~ClientSide() = default;

  // The request's body.
  /// At most about `most` bytes are read for it.
  virtual BodyPiece next_body(std::size_t most) = 0;
  virtual std::span<const Field> request_trailers() const = 0;
  /// Where the body stands, for may_retry().
  virtual bool body_is_replayable() const = 0;
  /// Begins the body again for another attempt; only while body_is_replayable().
  virtual void rewind_body() = 0;

  // The response.
  /// Encodes the head; it leaves with the first piece of body, finish_body() or flush().
  virtual bool send_head(const ResponseHead& head, const ResponseRules& rules) = 0;
  virtual bool send_interim(const ResponseHead& head) = 0;
  /// After send_head(): will the connection take another request once this response is over?
  virtual bool keeps_alive() const = 0;
  virtual bool offer_body(std::string_view bytes) = 0;
  virtual bool finish_body(std::span<const Field> trailers) = 0;
  /// A complete answer of ours (HTTP/1.1 bytes; an h2 side takes them apart).
  virtual bool send_own(std::string_view response) = 0;
  /// Nothing waits to be taken by the kernel.
  virtual bool can_take() const = 0;
  /// Sends what is encoded or pending as far as it goes. False: the client is gone.
  virtual bool flush() = 0;

  /// Bytes of ours that the client's side of the network has taken: what kernel and proxy still
  /// hold doesn't count.
  virtual std::uint64_t delivered_bytes() const = 0;
  /// True once the client can no longer receive. `half_closed_is_gone`: its FIN counts as well.
  virtual bool is_gone(bool half_closed_is_gone) const = 0;
  /// The descriptor to wait on, with the bits asked for.
  virtual Interest interest(bool read, bool write, bool peer_closed) = 0;
  /// The descriptor's stream where there is one: tunnels need it. nullptr for a stream of HTTP/2.
  virtual Stream* stream() = 0;
  /// Bytes read beyond the request's head that belong to a tunnel.
  virtual std::string_view take_buffered() = 0;
  /// Lends away what memory the request's head holds while the exchange waits long; unpark() makes
  /// the head's views good again.
  virtual void park() = 0;
  virtual const RequestHead& unpark() = 0;

  virtual const ClientFacts& facts() const = 0;
  /// Does the certificate that this connection was served cover `host`? True without TLS.
  virtual bool covers(std::string_view host) const = 0;
};

class UpstreamSide {
 public:
  virtual ~UpstreamSide() = default;

  virtual bool send_head(const RequestHead& head, const Forwarding& forwarding) = 0;
  virtual bool offer_body(std::string_view bytes) = 0;
  virtual bool finish_body(std::span<const Field> trailers) = 0;
  virtual bool can_take() const = 0;
  virtual bool flush() = 0;
  /// Has any byte of this exchange been accepted by the kernel?
  virtual bool has_sent() const = 0;

  /// Reads towards a response head. Complete: `head`'s views hold until the next suspension. A
  /// Fault otherwise: UpstreamReset where the connection ended, UpstreamBadResponse where it made
  /// no sense.
  virtual Parsed next_head(Asked asked, ResponseHead& head) = 0;
  /// Has any byte of the response come?
  virtual bool has_received() const = 0;
  /// From now on next_body() follows `framing`.
  virtual void begin_body(Framing framing, std::size_t head_bytes) = 0;
  virtual BodyPiece next_body(std::size_t most) = 0;
  virtual std::span<const Field> response_trailers() const = 0;
  /// Saves what lies in the worker's buffer; call before every suspension.
  virtual void park() = 0;

  virtual Interest interest(bool read, bool write) = 0;
  virtual Stream* stream() = 0;
  virtual std::string_view take_buffered() = 0;
};

}  // namespace rooster::proxy
