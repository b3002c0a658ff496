// LocalAuthority: the certificate authority of this node alone, for when no certificate is
// configured. It lives in <data>/tls/local-ca.pem (readable by all, to be trusted) and local-ca.key
// (0600).
#pragma once

#include "core/error.hpp"
#include "core/time.hpp"
#include "tls/certificate.hpp"

#include <memory>
#include <string>
#include <vector>

namespace rooster::tls {

class LocalAuthority {
 public:
  /// Opens the authority in `folder` (made when absent) or creates it, complete or not at all.
  /// Errors: Internal, with the file and the mend. Blocks on files.
  static Result<LocalAuthority> open_or_create(const std::string& folder, WallTime now);

  /// Signs a certificate for `names` (the first becomes its common name), with a key of its own,
  /// valid for 90 days. Thread: any; takes 0.2 ms.
  Result<std::shared_ptr<const Certificate>> issue(const std::vector<std::string>& names,
                                                   WallTime now) const;

  /// When a certificate that issue() made is to be made anew: a third of its life before its end.
  static WallTime renew_at(const Certificate& issued);

  const std::string& certificate_file() const { return certificate_file_; }
  /// By which clients know it: SHA-256 of its SubjectPublicKeyInfo in base64url.
  std::string pin() const;
  /// Its key's fingerprint: another id is another authority.
  const std::string& id() const { return id_; }

 private:
  LocalAuthority(X509Ptr certificate, KeyPtr key, std::string file);
  static Result<LocalAuthority> open(const std::string& certificate_file,
                                     const std::string& key_file, WallTime now);
  static Result<LocalAuthority> create(const std::string& certificate_file,
                                       const std::string& key_file, WallTime now);

  X509Ptr certificate_;
  KeyPtr key_;
  std::string certificate_file_;
  std::string id_;
};

}  // namespace rooster::tls
