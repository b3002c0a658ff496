#include "tls/certificate.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

namespace rooster::tls {
namespace {

constexpr int kMinSecurityBits = 112;  // what OpenSSL's security level 2 demands: RSA 2048, P-256

template <class Encode, class Object>
std::string to_der(Encode encode, Object* object) {
  unsigned char* bytes = nullptr;
  const int size = encode(object, &bytes);
  if (size <= 0) return {};
  std::string der(reinterpret_cast<char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_clear_free(bytes, static_cast<std::size_t>(size));
  return der;
}

const unsigned char* bytes_of(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

WallTime wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::system_clock::from_time_t(timegm(&parts));
}

std::vector<std::string> dns_names(X509* leaf) {
  std::vector<std::string> names;
  auto* list =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(list, i);
    if (name->type != GEN_DNS) continue;
    const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName));
    const std::string_view raw(text, static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    const bool wildcard = raw.starts_with("*.");
    std::string host = normal_host(wildcard ? raw.substr(2) : raw);
    if (!host.empty()) names.push_back(wildcard ? "*." + host : host);
  }
  GENERAL_NAMES_free(list);
  return names;
}

/// Never asks a terminal for a pass phrase.
int no_pass_phrase(char*, int, int, void*) {
  return -1;
}

BioPtr reader_of(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

bool name_covers(std::string_view name, std::string_view host) {
  if (!name.starts_with("*.")) return name == host;
  const auto dot = host.find('.');
  return dot != std::string_view::npos && dot > 0 && host.substr(dot + 1) == name.substr(2);
}

std::string normal_host(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.size() > 253) return {};
  std::string normal(host);
  for (char& c : normal) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool allowed =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!allowed) return {};
  }
  if (normal.front() == '.' || normal.find("..") != std::string::npos) return {};
  return normal;
}

bool Certificate::covers(std::string_view host) const {
  return std::ranges::any_of(names_, [&](const auto& name) { return name_covers(name, host); });
}

Result<std::shared_ptr<const Certificate>> Certificate::from_pem(std::string_view certificate,
                                                                 std::string_view key,
                                                                 std::string origin) {
  const BioPtr certificate_text = reader_of(certificate);
  std::vector<X509Ptr> owners;
  while (X509* next = PEM_read_bio_X509(certificate_text.get(), nullptr, no_pass_phrase, nullptr))
    owners.emplace_back(next);
  const std::string stopped_by = take_openssl_error();
  if (owners.empty()) {
    return fail(Fault::Internal, origin + ": no PEM certificate in it (" + stopped_by +
                                     "); it must hold the leaf and then its chain");
  }
  const BioPtr key_text = reader_of(key);
  const KeyPtr private_key(
      PEM_read_bio_PrivateKey(key_text.get(), nullptr, no_pass_phrase, nullptr));
  if (!private_key) {
    const bool encrypted = key.find("ENCRYPTED") != std::string_view::npos;
    const std::string reason = take_openssl_error();
    return fail(Fault::Internal,
                origin + (encrypted ? ": its key is encrypted; write it without a pass phrase "
                                      "(openssl pkey -in old.key -out new.key)"
                                    : ": its key is not a PEM private key (" + reason + ")"));
  }
  std::vector<X509*> chain;
  for (std::size_t i = 1; i < owners.size(); ++i) chain.push_back(owners[i].get());
  return from_objects(owners.front().get(), chain, private_key.get(), std::move(origin));
}

Result<std::shared_ptr<const Certificate>> Certificate::from_objects(
    X509* leaf, const std::vector<X509*>& chain, EVP_PKEY* key, std::string origin) {
  if (X509_check_private_key(leaf, key) != 1) {
    take_openssl_error();
    return fail(Fault::Internal,
                origin +
                    ": the key does not belong to the first certificate; give the key that "
                    "was made for it, and put the leaf before its chain");
  }
  if (EVP_PKEY_get_security_bits(key) < kMinSecurityBits) {
    return fail(Fault::Internal, origin + ": its key is too weak; use P-256 or RSA 2048 or more");
  }
  std::shared_ptr<Certificate> made(new Certificate);
  made->names_ = dns_names(leaf);
  if (made->names_.empty()) {
    return fail(Fault::Internal, origin +
                                     ": it names no host; browsers need a DNS name in "
                                     "subjectAltName");
  }
  made->origin_ = std::move(origin);
  made->not_before_ = wall_time(X509_get0_notBefore(leaf));
  made->not_after_ = wall_time(X509_get0_notAfter(leaf));
  made->leaf_ = to_der(i2d_X509, leaf);
  for (X509* above : chain) made->chain_.push_back(to_der(i2d_X509, above));
  made->key_ = to_der(i2d_PrivateKey, key);
  if (made->leaf_.empty() || made->key_.empty()) {
    return fail(Fault::Internal, made->origin_ + ": " + take_openssl_error());
  }
  return made;
}

std::shared_ptr<const ParsedCertificate> Certificate::parse() const {
  auto parsed = std::make_shared<ParsedCertificate>();
  const unsigned char* at = bytes_of(leaf_);
  parsed->leaf.reset(d2i_X509(nullptr, &at, static_cast<long>(leaf_.size())));
  parsed->chain.reset(sk_X509_new_null());
  for (const std::string& der : chain_) {
    at = bytes_of(der);
    X509* above = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
    if (above != nullptr) sk_X509_push(parsed->chain.get(), above);
  }
  at = bytes_of(key_);
  parsed->key.reset(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(key_.size())));
  if (!parsed->leaf || !parsed->key) return nullptr;
  // OpenSSL fills an X509's cached extensions on first use: do it before other threads see it.
  X509_check_purpose(parsed->leaf.get(), -1, 0);
  return parsed;
}

}  // namespace rooster::tls
