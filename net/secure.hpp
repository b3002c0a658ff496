// Client-side TLS with verification: https checks and what else of ours speaks to a TLS server.
#pragma once

#include "core/stream.hpp"
#include "core/task.hpp"

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace rooster::net {

/// Whom to trust and what to speak. Immutable; shared by a thread's connections.
class ClientTls {
 public:
  /// `trusted`: a PEM file of authorities; "": the system's. `verify` false takes any certificate
  /// (tls_skip_verify). Errors: Internal, with the file.
  static Result<ClientTls> create(const std::string& trusted = {}, bool verify = true);
  /// Trusts, of what a server shows, only the authority whose public key (SubjectPublicKeyInfo)
  /// has this SHA-256; its names and dates are verified as ever.
  static Result<ClientTls> create_pinned(const std::array<std::uint8_t, 32>& pin);
  ClientTls(ClientTls&&) noexcept;
  ~ClientTls();

  /// A session for a server named `host` (a name or an IP address).
  SslPtr new_session(const std::string& host) const;

 private:
  ClientTls();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Makes a connected stream a TLS one. Errors, with Reached::No: UpstreamRefused with why the
/// handshake failed (the verification's verdict too), UpstreamConnectTimeout at the deadline, the
/// interruption's fault.
Task<> secure(Stream& stream, const ClientTls& tls, std::string host, Waiter& waiter,
              TimePoint deadline);

}  // namespace rooster::net
