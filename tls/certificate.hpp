// Certificate: one certificate with its chain and key, kept as DER (2 KiB) and parsed only when a
// handshake asks for it: parsed, ten thousand of them would take 180 MB.
#pragma once

#include "core/error.hpp"
#include "core/time.hpp"
#include "tls/openssl.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::tls {

/// The form a certificate is handed to OpenSSL in. Shared by all workers, never changed.
struct ParsedCertificate {
  X509Ptr leaf;
  X509StackPtr chain;
  KeyPtr key;
};

/// A certificate's facts and its DER. Immutable.
class Certificate {
 public:
  /// From PEM: `certificate` is the leaf and then its chain, `key` its private key. `origin` is
  /// what messages call it: the file, or "local CA". Errors: Internal, with what is wrong and the
  /// mend.
  static Result<std::shared_ptr<const Certificate>> from_pem(std::string_view certificate,
                                                             std::string_view key,
                                                             std::string origin);

  /// From objects just made (the local CA); `chain` may be empty.
  static Result<std::shared_ptr<const Certificate>> from_objects(X509* leaf,
                                                                 const std::vector<X509*>& chain,
                                                                 EVP_PKEY* key, std::string origin);

  /// The DNS names it is for, lower case; wildcards as "*.example.com".
  const std::vector<std::string>& names() const { return names_; }
  const std::string& origin() const { return origin_; }
  WallTime not_before() const { return not_before_; }
  WallTime not_after() const { return not_after_; }

  /// True if `host` (lower case, no port) is one of its names; a wildcard stands for exactly one
  /// label (RFC 6125 §6.4.3). Decides 421.
  bool covers(std::string_view host) const;

  /// Parses the DER. Thread: any.
  std::shared_ptr<const ParsedCertificate> parse() const;

 private:
  Certificate() = default;

  std::vector<std::string> names_;
  std::string origin_;
  WallTime not_before_;
  WallTime not_after_;
  std::string leaf_;
  std::vector<std::string> chain_;
  std::string key_;
};

/// `name` is exact or "*.rest"; true if it stands for `host`.
bool name_covers(std::string_view name, std::string_view host);

/// `host` lower case and without one trailing dot; "" unless it is made of what DNS names are made
/// of.
std::string normal_host(std::string_view host);

}  // namespace rooster::tls
