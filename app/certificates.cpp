#include "app/certificates.hpp"

#include <chrono>

namespace rooster::app {

Result<> Certificates::open(const config::ConfigSet& config) {
  if (config.node.reloadable.certificates.empty() && !authority_) {
    auto authority = tls::LocalAuthority::open_or_create(config.node.fixed.data + "/tls",
                                                         std::chrono::system_clock::now());
    if (!authority) return fail(authority.error());
    authority_.emplace(std::move(*authority));
  }
  refresh(config);
  return {};
}

bool Certificates::refresh(const config::ConfigSet& config) {
  tls::CertificateInputs inputs;
  inputs.files = config.node.reloadable.certificates;
  inputs.domain = config.node.reloadable.domain;
  if (inputs.files.empty() && !authority_) {
    // The last configured certificate was taken out: from now on the local CA signs.
    if (auto opened = open(config); !opened) {
      log_.error("no certificate can be made", {{"detail", opened.error().detail}});
      return false;
    }
    return true;
  }
  if (inputs.files.empty()) inputs.authority = &*authority_;
  for (const auto& app : config.apps) {
    for (const std::string& name : app->rooster.hostnames) inputs.hostnames.push_back(name);
  }
  tls::CertificateBuild built =
      tls::CertificateStore::build(inputs, store_.get(), std::chrono::system_clock::now());
  // The same trouble at every look is told once.
  if (built.errors != told_errors_) {
    for (const std::string& error : built.errors) log_.error(error);
  }
  if (built.warnings != told_warnings_) {
    for (const std::string& warning : built.warnings) log_.warn(warning);
  }
  told_errors_ = std::move(built.errors);
  told_warnings_ = std::move(built.warnings);
  if (!built.store || (store_ && built.store->all() == store_->all())) return false;
  store_ = std::move(built.store);
  return true;
}

std::string Certificates::local_ca_file() const {
  return authority_ ? authority_->certificate_file() : std::string();
}

std::string Certificates::pin() const {
  return authority_ ? authority_->pin() : std::string();
}

}  // namespace rooster::app
