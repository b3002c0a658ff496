// Certificates: the store that the workers serve from, kept up to date on the background thread:
// configured files reread when they change, locally signed ones renewed, names added by a reload.
#pragma once

#include "config/config_set.hpp"
#include "core/log.hpp"
#include "tls/certificate_store.hpp"
#include "tls/local_authority.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rooster::app {

class Certificates {
 public:
  explicit Certificates(Log& log) : log_(log) {}

  /// Errors: Internal, where the local CA is needed and can't be made, or nothing can be served at
  /// all.
  Result<> open(const config::ConfigSet& config);
  /// True: there is a new store.
  bool refresh(const config::ConfigSet& config);
  const std::shared_ptr<const tls::CertificateStore>& store() const { return store_; }
  /// "" where there is none: certificates were configured.
  std::string local_ca_file() const;
  /// By which clients know the local CA: SHA-256 of its public key (SubjectPublicKeyInfo) in
  /// base64url. "" where there is none.
  std::string pin() const;

 private:
  Log& log_;
  std::optional<tls::LocalAuthority> authority_;
  std::shared_ptr<const tls::CertificateStore> store_;
  std::vector<std::string> told_errors_;
  std::vector<std::string> told_warnings_;
};

}  // namespace rooster::app
