#include "tls/local_authority.hpp"

#include "core/base64.hpp"
#include "tls/file_stamp.hpp"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::tls {
namespace {

using namespace std::chrono_literals;

constexpr auto kAuthorityLife = 3650 * 24h;
constexpr auto kLeafLife = 90 * 24h;
constexpr auto kClockSlack = 1h;            // a client's clock may be behind
constexpr std::size_t kMaxCommonName = 64;  // RFC 5280: ub-common-name
constexpr int kSerialBytes = 16;

std::string read_all(const BioPtr& bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

bool add_extension(X509* to, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(to, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool set_random_serial(X509* certificate) {
  unsigned char bytes[kSerialBytes];
  if (RAND_bytes(bytes, kSerialBytes) != 1) return false;
  bytes[0] &= 0x7f;  // serial numbers are positive
  BIGNUM* number = BN_bin2bn(bytes, kSerialBytes, nullptr);
  const bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

/// A version 3 certificate with serial, life, key and subject set; issuer and extensions are the
/// caller's.
X509Ptr new_certificate(EVP_PKEY* key, const std::string& common_name, WallTime from, WallTime to) {
  X509Ptr made(X509_new());
  ASN1_TIME_set(X509_getm_notBefore(made.get()), std::chrono::system_clock::to_time_t(from));
  ASN1_TIME_set(X509_getm_notAfter(made.get()), std::chrono::system_clock::to_time_t(to));
  bool good = X509_set_version(made.get(), X509_VERSION_3) == 1 && set_random_serial(made.get()) &&
              X509_set_pubkey(made.get(), key) == 1;
  if (!common_name.empty()) {
    good = good &&
           X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(common_name.c_str()),
                                      static_cast<int>(common_name.size()), -1, 0) == 1;
  }
  if (!good) made.reset();
  return made;
}

std::string fingerprint(X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  X509_pubkey_digest(certificate, EVP_sha256(), digest, &size);
  return {reinterpret_cast<char*>(digest), size};
}

Result<> write_whole(int descriptor, const std::string& path, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = ::write(descriptor, text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(Fault::Internal, path + ": " + std::strerror(errno));
    done += static_cast<std::size_t>(put);
  }
  if (::fsync(descriptor) != 0) return fail(Fault::Internal, path + ": " + std::strerror(errno));
  return {};
}

/// Writes beside, then renames: readers see the old file or the whole new one. Born with `mode`, so
/// that a key is at no moment readable by others.
Result<> replace_file(const std::string& path, const std::string& text, mode_t mode) {
  const std::string beside = path + ".new";
  ::unlink(beside.c_str());
  const int descriptor =
      ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (descriptor < 0) {
    return fail(Fault::Internal, beside + ": " + std::strerror(errno) +
                                     "; let Rooster's user write in its data folder");
  }
  ::fchmod(descriptor, mode);  // whatever the umask was
  auto written = write_whole(descriptor, beside, text);
  ::close(descriptor);
  if (written && ::rename(beside.c_str(), path.c_str()) != 0) {
    written = fail(Fault::Internal, path + ": " + std::strerror(errno));
  }
  if (!written) ::unlink(beside.c_str());
  return written;
}

/// Makes `folder` and its parent; others may pass through to read the certificate.
void make_folder(const std::string& folder) {
  const auto slash = folder.rfind('/');
  if (slash != std::string::npos && slash > 0) ::mkdir(folder.substr(0, slash).c_str(), 0755);
  ::mkdir(folder.c_str(), 0755);
}

}  // namespace

LocalAuthority::LocalAuthority(X509Ptr certificate, KeyPtr key, std::string file)
    : certificate_(std::move(certificate)),
      key_(std::move(key)),
      certificate_file_(std::move(file)),
      id_(fingerprint(certificate_.get())) {}

Result<LocalAuthority> LocalAuthority::open_or_create(const std::string& folder, WallTime now) {
  make_folder(folder);
  const std::string certificate_file = folder + "/local-ca.pem";
  const std::string key_file = folder + "/local-ca.key";
  // The key is written first: a certificate means that both are there.
  if (::access(certificate_file.c_str(), F_OK) == 0) return open(certificate_file, key_file, now);
  return create(certificate_file, key_file, now);
}

Result<LocalAuthority> LocalAuthority::open(const std::string& certificate_file,
                                            const std::string& key_file, WallTime now) {
  const std::string mend = "; remove " + certificate_file + " to get a new local CA";
  auto certificate_text = read_if_changed(open_file, certificate_file, {});
  if (!certificate_text) return fail(certificate_text.error());
  auto key_text = read_if_changed(open_file, key_file, {});
  if (!key_text) return fail(Fault::Internal, key_text.error().detail + mend);
  const BioPtr certificate_bio(BIO_new_mem_buf(certificate_text->text.data(),
                                               static_cast<int>(certificate_text->text.size())));
  const BioPtr key_bio(
      BIO_new_mem_buf(key_text->text.data(), static_cast<int>(key_text->text.size())));
  X509Ptr certificate(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr));
  KeyPtr key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!certificate || !key || X509_check_private_key(certificate.get(), key.get()) != 1) {
    take_openssl_error();
    return fail(Fault::Internal,
                certificate_file + ": it and its key are damaged or not a pair" + mend);
  }
  time_t seconds = std::chrono::system_clock::to_time_t(now);
  if (X509_cmp_time(X509_get0_notAfter(certificate.get()), &seconds) < 0) {
    return fail(Fault::Internal, certificate_file + ": it has expired" + mend);
  }
  ::chmod(key_file.c_str(), 0600);  // an operator's copy may have opened it
  return LocalAuthority(std::move(certificate), std::move(key), certificate_file);
}

// A plain authority, not a name-constrained one: custom hostnames join later, and its certificate,
// once trusted, is to stay the same.
Result<LocalAuthority> LocalAuthority::create(const std::string& certificate_file,
                                              const std::string& key_file, WallTime now) {
  KeyPtr key(EVP_EC_gen("P-256"));
  char host[65] = {};
  ::gethostname(host, sizeof host - 1);
  const std::string name = ("Rooster local CA " + std::string(host)).substr(0, kMaxCommonName);
  X509Ptr made =
      key ? new_certificate(key.get(), name, now - kClockSlack, now + kAuthorityLife) : X509Ptr();
  const bool good =
      made && X509_set_issuer_name(made.get(), X509_get_subject_name(made.get())) == 1 &&
      add_extension(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
      add_extension(made.get(), made.get(), NID_key_usage, "critical,keyCertSign,cRLSign") &&
      add_extension(made.get(), made.get(), NID_subject_key_identifier, "hash") &&
      X509_sign(made.get(), key.get(), EVP_sha256()) > 0;
  const BioPtr certificate_text(BIO_new(BIO_s_mem()));
  const BioPtr key_text(BIO_new(BIO_s_mem()));
  if (!good || PEM_write_bio_X509(certificate_text.get(), made.get()) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                    nullptr) != 1) {
    return fail(Fault::Internal, certificate_file + ": " + take_openssl_error());
  }
  if (auto written = replace_file(key_file, read_all(key_text), 0600); !written) {
    return fail(written.error());
  }
  if (auto written = replace_file(certificate_file, read_all(certificate_text), 0644); !written) {
    return fail(written.error());
  }
  return LocalAuthority(std::move(made), std::move(key), certificate_file);
}

Result<std::shared_ptr<const Certificate>> LocalAuthority::issue(
    const std::vector<std::string>& names, WallTime now) const {
  std::string alternatives;
  for (const std::string& name : names) {
    // A comma or newline would be another entry in OpenSSL's extension syntax.
    const bool wildcard = name.starts_with("*.");
    if (normal_host(wildcard ? name.substr(2) : name).empty()) {
      return fail(Fault::Internal, "local CA: \"" + name + "\" is not a host name");
    }
    alternatives += (alternatives.empty() ? "DNS:" : ",DNS:") + name;
  }
  if (names.empty()) return fail(Fault::Internal, "local CA: no name to sign for");
  const std::string& first = names.front();
  const std::string common_name = first.size() <= kMaxCommonName ? first : "";
  if (common_name.empty()) alternatives = "critical," + alternatives;  // RFC 5280 §4.2.1.6

  KeyPtr key(EVP_EC_gen("P-256"));
  X509Ptr leaf =
      key ? new_certificate(key.get(), common_name, now - kClockSlack, now + kLeafLife) : X509Ptr();
  X509* issuer = certificate_.get();
  const bool good = leaf && X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer)) == 1 &&
                    add_extension(leaf.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                    add_extension(leaf.get(), issuer, NID_key_usage, "critical,digitalSignature") &&
                    add_extension(leaf.get(), issuer, NID_ext_key_usage, "serverAuth") &&
                    add_extension(leaf.get(), issuer, NID_subject_key_identifier, "hash") &&
                    add_extension(leaf.get(), issuer, NID_authority_key_identifier, "keyid") &&
                    add_extension(leaf.get(), issuer, NID_subject_alt_name, alternatives) &&
                    X509_sign(leaf.get(), key_.get(), EVP_sha256()) > 0;
  if (!good) return fail(Fault::Internal, "local CA: " + take_openssl_error());
  return Certificate::from_objects(leaf.get(), {issuer}, key.get(), "local CA");
}

WallTime LocalAuthority::renew_at(const Certificate& issued) {
  return issued.not_after() - (issued.not_after() - issued.not_before()) / 3;
}

std::string LocalAuthority::pin() const {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate_.get()), &der);
  if (size <= 0) return {};
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256(der, static_cast<std::size_t>(size), digest.data());
  OPENSSL_free(der);
  return to_base64url(digest);
}

}  // namespace rooster::tls
