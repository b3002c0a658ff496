#include "tls/certificate_store.hpp"

#include "tls/local_authority.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

namespace rooster::tls {
namespace {

using namespace std::chrono_literals;

constexpr auto kWarnBeforeExpiry = 14 * 24h;

std::string date(WallTime time) {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

void warn_about_time(const Certificate& certificate, WallTime now,
                     std::vector<std::string>& warnings) {
  const std::string& origin = certificate.origin();
  if (certificate.not_after() <= now) {
    warnings.push_back(fmt::format("{}: expired on {}; clients will refuse it, renew it", origin,
                                   date(certificate.not_after())));
  } else if (certificate.not_after() - now < kWarnBeforeExpiry) {
    warnings.push_back(
        fmt::format("{}: expires on {}; renew it", origin, date(certificate.not_after())));
  }
  if (certificate.not_before() > now) {
    warnings.push_back(fmt::format("{}: not valid before {}; check the clock", origin,
                                   date(certificate.not_before())));
  }
}

}  // namespace

std::shared_ptr<const ParsedCertificate> ParsedCertificates::get(
    const std::shared_ptr<const Certificate>& of) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = index_.find(of.get()); found != index_.end()) {
      by_use_.splice(by_use_.begin(), by_use_, found->second);
      return found->second->parsed;
    }
  }
  auto parsed = of->parse();  // outside the lock: it takes 0.1 ms
  if (!parsed) return nullptr;
  const std::lock_guard lock(mutex_);
  if (const auto found = index_.find(of.get()); found != index_.end()) return found->second->parsed;
  by_use_.push_front({of, parsed});
  index_[of.get()] = by_use_.begin();
  if (by_use_.size() > bound_) {
    index_.erase(by_use_.back().of.get());
    by_use_.pop_back();
  }
  return parsed;
}

std::size_t ParsedCertificates::size() const {
  const std::lock_guard lock(mutex_);
  return by_use_.size();
}

CertificateBuild CertificateStore::build(const CertificateInputs& inputs,
                                         const CertificateStore* previous, WallTime now) {
  CertificateBuild out;
  auto store = std::make_shared<CertificateStore>();
  store->parsed_ =
      previous != nullptr ? previous->parsed_ : std::make_shared<ParsedCertificates>(kParsedBound);
  store->add_files(inputs, previous, now, out);
  if (inputs.authority != nullptr) store->add_local(inputs, previous, now, out);
  // Unknown names get the domain's wildcard: it is the one a visitor's typo most likely meant.
  if (!inputs.domain.empty()) store->default_ = store->find("default." + inputs.domain);
  if (!store->default_ && !store->all_.empty()) store->default_ = store->all_.front();
  out.store = std::move(store);
  return out;
}

void CertificateStore::add_files(const CertificateInputs& inputs, const CertificateStore* previous,
                                 WallTime now, CertificateBuild& out) {
  for (const auto& files : inputs.files) {
    const auto key = std::pair(files.cert, files.key);
    if (files_.contains(key)) continue;
    FileEntry entry;
    if (previous != nullptr) {
      if (const auto old = previous->files_.find(key); old != previous->files_.end()) {
        entry = old->second;
      }
    }
    // The two files are one unit: when either changed, both are read.
    auto cert = read_if_changed(inputs.open, files.cert, entry.cert_stamp);
    auto private_key = read_if_changed(inputs.open, files.key, entry.key_stamp);
    if (cert && private_key && (cert->changed || private_key->changed)) {
      if (!cert->changed) cert = read_if_changed(inputs.open, files.cert, {});
      if (!private_key->changed) private_key = read_if_changed(inputs.open, files.key, {});
    }
    if (!cert) out.errors.push_back(cert.error().detail);
    if (!private_key) out.errors.push_back(private_key.error().detail);
    if (cert && private_key && cert->changed) {
      auto read = Certificate::from_pem(cert->text, private_key->text, files.cert);
      if (read) {
        entry = {cert->stamp, private_key->stamp, *read};
      } else {
        out.errors.push_back(read.error().detail + " (key: " + files.key + ")");
      }
    }
    if (!entry.certificate) continue;
    warn_about_time(*entry.certificate, now, out.warnings);
    add(entry.certificate);
    files_.emplace(key, std::move(entry));
  }
}

void CertificateStore::add_local(const CertificateInputs& inputs, const CertificateStore* previous,
                                 WallTime now, CertificateBuild& out) {
  authority_id_ = inputs.authority->id();
  if (!inputs.domain.empty()) {
    const std::string wildcard = "*." + inputs.domain;
    if (!wildcard_.contains(inputs.domain) || !find(inputs.domain)) {
      add_one_local(inputs, {wildcard, inputs.domain}, previous, now, out);
    }
  }
  for (const std::string& name : inputs.hostnames) {
    const bool wildcard = name.starts_with("*.");
    const bool known = wildcard ? wildcard_.contains(name.substr(2)) : find(name) != nullptr;
    if (!known) add_one_local(inputs, {name}, previous, now, out);
  }
}

void CertificateStore::add_one_local(const CertificateInputs& inputs,
                                     const std::vector<std::string>& names,
                                     const CertificateStore* previous, WallTime now,
                                     CertificateBuild& out) {
  std::shared_ptr<const Certificate> certificate;
  if (previous != nullptr && previous->authority_id_ == authority_id_) {
    const auto old = previous->local_.find(names.front());
    if (old != previous->local_.end() && old->second->names() == names &&
        LocalAuthority::renew_at(*old->second) > now) {
      certificate = old->second;
    }
  }
  if (!certificate) {
    auto issued = inputs.authority->issue(names, now);
    if (!issued) {
      out.errors.push_back(issued.error().detail);
      return;
    }
    certificate = *issued;
  }
  renew_at_ = std::min(renew_at_, LocalAuthority::renew_at(*certificate));
  local_[names.front()] = certificate;
  add(certificate);
}

void CertificateStore::add(const std::shared_ptr<const Certificate>& certificate) {
  all_.push_back(certificate);
  for (const std::string& name : certificate->names()) {
    const bool wildcard = name.starts_with("*.");
    // The first one listed wins a name.
    (wildcard ? wildcard_ : exact_).try_emplace(wildcard ? name.substr(2) : name, certificate);
  }
}

std::shared_ptr<const Certificate> CertificateStore::find(std::string_view host) const {
  if (const auto found = exact_.find(host); found != exact_.end()) return found->second;
  const auto dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0) return nullptr;
  const auto found = wildcard_.find(host.substr(dot + 1));
  return found != wildcard_.end() ? found->second : nullptr;
}

}  // namespace rooster::tls
