// ServerContext: one worker's SSL_CTX. The ClientHello's name chooses certificate, versions and
// protocols; the certificates and ticket keys are snapshots that the worker adopts on its own
// thread.
#pragma once

#include "config/app_config.hpp"
#include "core/error.hpp"
#include "tls/certificate_store.hpp"
#include "tls/openssl.hpp"
#include "tls/ticket_keys.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::tls {

/// What `tls_options` of an app's port may change. Sessions are never resumed across profiles.
struct TlsProfile {
  bool tls12 = true;
  bool tls13 = true;
  std::vector<std::string> alpn = {"h2",
                                   "http/1.1"};  ///< in order of our preference; empty: none spoken
  bool strict_sni = false;  ///< refuse names without a certificate instead of serving the default

  /// `options` as Fly reads them, on top of `defaults`: protocols we don't speak are left out.
  static TlsProfile from(const config::TlsOptions& options, const TlsProfile& defaults);
  friend bool operator==(const TlsProfile&, const TlsProfile&) = default;
};

/// What a finished handshake decided: for the session, for 421 and for the log.
struct Handshake {
  std::string sni;           ///< normal form; "" when none (or an impossible one) was sent
  std::string alpn;          ///< "" when none was agreed on
  const char* version = "";  ///< "TLSv1.3"
  const char* cipher = "";   ///< "TLS_AES_128_GCM_SHA256"
  bool resumed = false;
  std::shared_ptr<const Certificate> certificate;
  std::shared_ptr<const TlsProfile> profile;

  /// False: a request for `host` (normal form) on this connection is Misdirected (RFC 9110
  /// §15.5.20).
  bool covers(std::string_view host) const { return certificate && certificate->covers(host); }
};

/// Why a handshake ended early.
enum class HandshakeEnd : std::uint8_t { Failed, Disconnected, Late, Interrupted };

class ServerContext {
 public:
  /// The profile that a name's app asks for; null: the context's own. Called during handshakes.
  using ProfileOf = std::function<std::shared_ptr<const TlsProfile>(std::string_view sni)>;

  /// Errors: Internal, where OpenSSL refuses the settings.
  static Result<std::unique_ptr<ServerContext>> create(
      TlsProfile profile, std::shared_ptr<const CertificateStore> certificates,
      std::shared_ptr<const TicketKeys> tickets, ProfileOf profile_of = {});

  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  /// A server-side session without a BIO; handshake under a PendingHandshake.
  rooster::SslPtr new_session() const;

  /// Called at each ClientHello for which there is a certificate, with the name it gives ("": none)
  /// and the connection's descriptor, before anything costly. False: the handshake ends here.
  using OnHello = std::function<bool(std::string_view sni, int fd)>;
  void set_on_hello(OnHello on_hello) { on_hello_ = std::move(on_hello); }

  void adopt(std::shared_ptr<const CertificateStore> certificates) {
    certificates_ = std::move(certificates);
  }
  void adopt(std::shared_ptr<const TicketKeys> tickets) { tickets_ = std::move(tickets); }
  const std::shared_ptr<const CertificateStore>& certificates() const { return certificates_; }

 private:
  friend class PendingHandshake;
  friend struct Callbacks;
  ServerContext() = default;
  Result<> set_up();

  std::shared_ptr<const TlsProfile> profile_;
  ProfileOf profile_of_;
  OnHello on_hello_;
  std::shared_ptr<const CertificateStore> certificates_;
  std::shared_ptr<const TicketKeys> tickets_;
  CipherPtr ticket_cipher_;  // fetched once: by name it costs a microsecond a ticket
  SslContextPtr context_;
};

/// The state of one handshake, attached to its SSL while it lives. Must outlive the handshake and
/// not the SSL.
class PendingHandshake {
 public:
  /// `fd`: of the connection, for OnHello; -1: none. `profile`: instead of what the context would
  /// choose.
  PendingHandshake(const ServerContext& context, SSL& ssl, int fd = -1,
                   std::shared_ptr<const TlsProfile> profile = {});
  ~PendingHandshake();
  PendingHandshake(const PendingHandshake&) = delete;
  PendingHandshake& operator=(const PendingHandshake&) = delete;

  /// After success.
  Handshake finished() const;
  /// TlsHandshake with a detail that begins with Fly's code (PT03 to PT08); empties OpenSSL's error
  /// queue.
  Error failed(HandshakeEnd why) const;

 private:
  friend struct Callbacks;
  const ServerContext& context_;
  SSL& ssl_;
  const int fd_;
  std::string sni_;
  bool is_refused_ = false;  // by OnHello
  std::shared_ptr<const Certificate> certificate_;
  std::shared_ptr<const TlsProfile> profile_;
};

}  // namespace rooster::tls
