// CertificateStore: which certificate answers for a name. An immutable snapshot that all workers
// share; a reload builds the next one from it and reads only the files that changed.
#pragma once

#include "config/node_config.hpp"
#include "core/error.hpp"
#include "core/time.hpp"
#include "tls/certificate.hpp"
#include "tls/file_stamp.hpp"

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rooster::tls {

class LocalAuthority;

/// The parsed forms of the certificates used last, at most `bound`. Thread: any; one short lock a
/// handshake.
class ParsedCertificates {
 public:
  explicit ParsedCertificates(std::size_t bound) : bound_(bound) {}
  /// Never null unless the DER can't be parsed, which loading has ruled out.
  std::shared_ptr<const ParsedCertificate> get(const std::shared_ptr<const Certificate>& of);
  std::size_t size() const;

 private:
  struct Entry {
    std::shared_ptr<const Certificate> of;  // keeps its address from being used again
    std::shared_ptr<const ParsedCertificate> parsed;
  };
  const std::size_t bound_;
  mutable std::mutex mutex_;
  std::list<Entry> by_use_;  // latest first
  std::unordered_map<const Certificate*, std::list<Entry>::iterator> index_;
};

/// What a store is built from. `authority` null: no local CA, names without a certificate get none.
struct CertificateInputs {
  std::vector<config::CertificateFiles> files;
  std::string domain;                  ///< its wildcard is the default certificate
  std::vector<std::string> hostnames;  ///< custom ones, exact or "*.example.com"
  const LocalAuthority* authority = nullptr;
  OpenFile open = open_file;
};

class CertificateStore;

/// A build's outcome. With errors the store is still usable: it keeps the previous certificate of a
/// broken file.
struct CertificateBuild {
  std::shared_ptr<const CertificateStore> store;
  std::vector<std::string> errors;    ///< each names the file and the mend
  std::vector<std::string> warnings;  ///< expired, soon to expire, not yet valid
};

class CertificateStore {
 public:
  /// Reads, checks and signs what is needed. Blocks on files: for the background thread (and at the
  /// start).
  static CertificateBuild build(const CertificateInputs& inputs, const CertificateStore* previous,
                                WallTime now);

  /// The certificate for a normal host name: exact, then by its wildcard; null if there is none.
  std::shared_ptr<const Certificate> find(std::string_view host) const;
  /// The one for clients that name no host or an unknown one; null if the store is empty.
  const std::shared_ptr<const Certificate>& default_certificate() const { return default_; }

  std::shared_ptr<const ParsedCertificate> parsed(
      const std::shared_ptr<const Certificate>& of) const {
    return parsed_->get(of);
  }
  const std::vector<std::shared_ptr<const Certificate>>& all() const { return all_; }
  /// When a build is due even if no file changes: the first locally signed certificate's renewal.
  WallTime renew_at() const { return renew_at_; }
  std::size_t parsed_count() const { return parsed_->size(); }

  static constexpr std::size_t kParsedBound = 1000;

 private:
  struct FileEntry {
    FileStamp cert_stamp;
    FileStamp key_stamp;
    std::shared_ptr<const Certificate> certificate;
  };
  using ByName = std::map<std::string, std::shared_ptr<const Certificate>, std::less<>>;

  void add(const std::shared_ptr<const Certificate>& certificate);
  void add_files(const CertificateInputs& inputs, const CertificateStore* previous, WallTime now,
                 CertificateBuild& out);
  void add_local(const CertificateInputs& inputs, const CertificateStore* previous, WallTime now,
                 CertificateBuild& out);
  void add_one_local(const CertificateInputs& inputs, const std::vector<std::string>& names,
                     const CertificateStore* previous, WallTime now, CertificateBuild& out);

  ByName exact_;
  ByName wildcard_;  // keyed by what follows "*."
  std::vector<std::shared_ptr<const Certificate>> all_;
  std::shared_ptr<const Certificate> default_;
  std::map<std::pair<std::string, std::string>, FileEntry> files_;  // by (cert, key) path
  std::map<std::string, std::shared_ptr<const Certificate>, std::less<>> local_;  // by first name
  std::string authority_id_;  // whose signatures local_ carries
  WallTime renew_at_ = WallTime::max();
  std::shared_ptr<ParsedCertificates> parsed_;
};

}  // namespace rooster::tls
