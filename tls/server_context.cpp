#include "tls/server_context.hpp"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

namespace rooster::tls {
namespace {

// AES-128 first: bulk costs 3 to 14 % less than with AES-256. Clients that put ChaCha20 first,
// having no AES instructions, get it (SSL_OP_PRIORITIZE_CHACHA).
constexpr const char* kTls13Suites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kTls12Suites =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* kGroups = "X25519:P-256";

/// The host name of a server_name extension (RFC 6066 §3) in normal form, "" if there is none.
std::string server_name(SSL* ssl) {
  const unsigned char* bytes = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &size) != 1) return {};
  constexpr std::size_t kHead = 5;  // list length, type, name length
  if (size <= kHead || bytes[2] != TLSEXT_NAMETYPE_host_name) return {};
  const std::size_t length = static_cast<std::size_t>(bytes[3]) << 8 | bytes[4];
  if (length > size - kHead) return {};
  return normal_host({reinterpret_cast<const char*>(bytes + kHead), length});
}

using SessionContext = std::array<unsigned char, SHA256_DIGEST_LENGTH>;
static_assert(std::tuple_size_v<SessionContext> <= SSL_MAX_SID_CTX_LENGTH);

/// Names a profile in the session, so that another profile's ticket is not taken.
SessionContext session_context(const TlsProfile& profile) {
  std::string text = profile.tls12 ? "12" : "";
  text += profile.tls13 ? "13" : "";
  for (const std::string& protocol : profile.alpn) text += "\n" + protocol;
  SessionContext digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

int lowest_version(const TlsProfile& profile) {
  return profile.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}
int highest_version(const TlsProfile& profile) {
  return profile.tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

/// Makes one session follow another profile than its context's.
void apply(const TlsProfile& profile, SSL* ssl) {
  SSL_set_min_proto_version(ssl, lowest_version(profile));
  SSL_set_max_proto_version(ssl, highest_version(profile));
  const SessionContext context = session_context(profile);
  SSL_set_session_id_context(ssl, context.data(), context.size());
}

bool has(const std::vector<std::string>& list, std::string_view one) {
  return std::ranges::find(list, one) != list.end();
}

PendingHandshake* pending_of(SSL* ssl) {
  return static_cast<PendingHandshake*>(SSL_get_app_data(ssl));
}

}  // namespace

/// OpenSSL's callbacks, in the order in which a handshake meets them.
struct Callbacks {
  static int client_hello(SSL* ssl, int* alert, void*) {
    PendingHandshake* pending = pending_of(ssl);
    if (pending == nullptr) return SSL_CLIENT_HELLO_ERROR;
    const ServerContext& context = pending->context_;
    pending->sni_ = server_name(ssl);
    if (pending->profile_) {
      apply(*pending->profile_, ssl);
    } else {
      pending->profile_ = context.profile_;
    }
    if (pending->profile_ == context.profile_ && context.profile_of_ && !pending->sni_.empty()) {
      if (auto own = context.profile_of_(pending->sni_)) {
        apply(*own, ssl);
        pending->profile_ = std::move(own);
      }
    }
    const CertificateStore& store = *context.certificates_;
    pending->certificate_ = pending->sni_.empty() ? nullptr : store.find(pending->sni_);
    if (!pending->certificate_ && !pending->profile_->strict_sni) {
      pending->certificate_ = store.default_certificate();
    }
    if (pending->certificate_) {
      if (!context.on_hello_ || pending->fd_ < 0 ||
          context.on_hello_(pending->sni_, pending->fd_)) {
        return SSL_CLIENT_HELLO_SUCCESS;
      }
      pending->is_refused_ = true;
      *alert = SSL_AD_INTERNAL_ERROR;  // no alert says "come slower"
      return SSL_CLIENT_HELLO_ERROR;
    }
    *alert = pending->sni_.empty() ? SSL_AD_HANDSHAKE_FAILURE : SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
  }

  static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                        EVP_MAC_CTX* mac, int sealing) {
    const auto* context =
        static_cast<const ServerContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    const TicketKeys& keys = *context->tickets_;
    const TicketKey* key =
        sealing == 1 ? &keys.newest() : keys.find(std::span<const unsigned char, 16>(name, 16));
    if (key == nullptr) return 0;
    if (sealing == 1) {
      std::ranges::copy(key->name, name);
      if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1) return -1;
    }
    std::array<char, 7> digest = {"SHA256"};
    auto* secret = const_cast<unsigned char*>(key->authentication.data());
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret, key->authentication.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_end()};
    if (EVP_CipherInit_ex(cipher, context->ticket_cipher_.get(), nullptr, key->encryption.data(),
                          iv, sealing) != 1 ||
        EVP_MAC_CTX_set_params(mac, parameters) != 1) {
      return -1;
    }
    return key == &keys.newest() ? 1 : 2;  // 2: opened, and a new one is due
  }

  static int seal_name(SSL* ssl, void*) {
    const PendingHandshake* pending = pending_of(ssl);
    if (pending == nullptr) return 0;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), pending->sni_.data(),
                                           pending->sni_.size());
  }

  static SSL_TICKET_RETURN check_name(SSL* ssl, SSL_SESSION* session, const unsigned char*,
                                      std::size_t, SSL_TICKET_STATUS status, void*) {
    const PendingHandshake* pending = pending_of(ssl);
    if (pending == nullptr) return SSL_TICKET_RETURN_ABORT;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) {
      return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    void* bytes = nullptr;
    std::size_t size = 0;
    SSL_SESSION_get0_ticket_appdata(session, &bytes, &size);
    const std::string_view sealed(static_cast<const char*>(bytes), size);
    if (sealed != pending->sni_) return SSL_TICKET_RETURN_IGNORE_RENEW;
    // TLS 1.3 clients use a ticket once (RFC 8446 §C.4): each resumption brings the next.
    const bool renew = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) == TLS1_3_VERSION;
    return renew ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
  }

  static int give_certificate(SSL* ssl, void*) {
    const PendingHandshake* pending = pending_of(ssl);
    if (pending == nullptr || !pending->certificate_) return 0;
    const auto parsed = pending->context_.certificates_->parsed(pending->certificate_);
    if (!parsed) return 0;
    return SSL_use_cert_and_key(ssl, parsed->leaf.get(), parsed->key.get(), parsed->chain.get(), 1);
  }

  static int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                             const unsigned char* offered, unsigned int offered_size, void*) {
    const PendingHandshake* pending = pending_of(ssl);
    if (pending == nullptr || pending->profile_->alpn.empty()) return SSL_TLSEXT_ERR_NOACK;
    for (const std::string& ours : pending->profile_->alpn) {
      for (unsigned int at = 0; at < offered_size; at += 1U + offered[at]) {
        const std::string_view theirs(reinterpret_cast<const char*>(offered + at + 1), offered[at]);
        if (theirs != ours) continue;
        *out = offered + at + 1;
        *out_size = offered[at];
        return SSL_TLSEXT_ERR_OK;
      }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol (RFC 7301 §3.2)
  }
};

TlsProfile TlsProfile::from(const config::TlsOptions& options, const TlsProfile& defaults) {
  TlsProfile profile = defaults;
  if (!options.versions.empty()) {
    profile.tls12 = has(options.versions, "TLSv1.2");
    profile.tls13 = has(options.versions, "TLSv1.3");
    if (!profile.tls12 && !profile.tls13) profile.tls12 = profile.tls13 = true;
  }
  if (!options.alpn.empty()) {
    profile.alpn.clear();
    for (const std::string& wanted : options.alpn) {
      if (has(defaults.alpn, wanted)) profile.alpn.push_back(wanted);
    }
  }
  return profile;
}

Result<std::unique_ptr<ServerContext>> ServerContext::create(
    TlsProfile profile, std::shared_ptr<const CertificateStore> certificates,
    std::shared_ptr<const TicketKeys> tickets, ProfileOf profile_of) {
  std::unique_ptr<ServerContext> made(new ServerContext);
  made->profile_ = std::make_shared<const TlsProfile>(std::move(profile));
  made->profile_of_ = std::move(profile_of);
  made->certificates_ = std::move(certificates);
  made->tickets_ = std::move(tickets);
  if (auto ready = made->set_up(); !ready) return fail(ready.error());
  return made;
}

Result<> ServerContext::set_up() {
  ticket_cipher_.reset(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr));
  context_.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* context = context_.get();
  if (context == nullptr || !ticket_cipher_) return fail(Fault::Internal, take_openssl_error());
  SSL_CTX_set_app_data(context, this);
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                   SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets only
  SSL_CTX_set_num_tickets(context, 1);
  SSL_CTX_set_timeout(context, std::chrono::seconds(TicketKeys::kTicketLife).count());
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_max_early_data(context, 0);  // 0-RTT can be replayed
  SSL_CTX_set_client_hello_cb(context, Callbacks::client_hello, nullptr);
  SSL_CTX_set_cert_cb(context, Callbacks::give_certificate, nullptr);
  SSL_CTX_set_alpn_select_cb(context, Callbacks::choose_protocol, nullptr);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, Callbacks::ticket_key);
  const SessionContext name = session_context(*profile_);
  const bool good = SSL_CTX_set_session_id_context(context, name.data(), name.size()) == 1 &&
                    SSL_CTX_set_min_proto_version(context, lowest_version(*profile_)) == 1 &&
                    SSL_CTX_set_max_proto_version(context, highest_version(*profile_)) == 1 &&
                    SSL_CTX_set_ciphersuites(context, kTls13Suites) == 1 &&
                    SSL_CTX_set_cipher_list(context, kTls12Suites) == 1 &&
                    SSL_CTX_set1_groups_list(context, kGroups) == 1 &&
                    SSL_CTX_set_session_ticket_cb(context, Callbacks::seal_name,
                                                  Callbacks::check_name, nullptr) == 1;
  if (!good) return fail(Fault::Internal, "TLS settings: " + take_openssl_error());
  return {};
}

rooster::SslPtr ServerContext::new_session() const {
  rooster::SslPtr ssl(SSL_new(context_.get()));
  if (ssl) SSL_set_accept_state(ssl.get());
  return ssl;
}

PendingHandshake::PendingHandshake(const ServerContext& context, SSL& ssl, int fd,
                                   std::shared_ptr<const TlsProfile> profile)
    : context_(context), ssl_(ssl), fd_(fd), profile_(std::move(profile)) {
  SSL_set_app_data(&ssl_, this);
}

PendingHandshake::~PendingHandshake() {
  SSL_set_app_data(&ssl_, nullptr);
}

Handshake PendingHandshake::finished() const {
  Handshake facts;
  facts.sni = sni_;
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(&ssl_, &protocol, &size);
  if (size != 0) facts.alpn.assign(reinterpret_cast<const char*>(protocol), size);
  facts.version = SSL_get_version(&ssl_);
  const SSL_CIPHER* cipher = SSL_get_current_cipher(&ssl_);
  if (cipher != nullptr) facts.cipher = SSL_CIPHER_standard_name(cipher);
  facts.resumed = SSL_session_reused(&ssl_) == 1;
  facts.certificate = certificate_;
  facts.profile = profile_;
  // A long-lived connection needs its certificate no more: one that left the store can go.
  SSL_certs_clear(&ssl_);
  return facts;
}

Error PendingHandshake::failed(HandshakeEnd why) const {
  const std::string reason = take_openssl_error();
  const std::string name = sni_.empty() ? "" : " (sni " + sni_ + ")";
  if (is_refused_) return Error(Fault::HandshakeLimit, Reached::No, "too many" + name);
  std::string detail;
  switch (why) {
    case HandshakeEnd::Interrupted:
      detail = "PT03 cancelled";
      break;
    case HandshakeEnd::Late:
      detail = "PT08 not finished in time";
      break;
    case HandshakeEnd::Disconnected:
      detail = "PT07 the client disconnected";
      break;
    case HandshakeEnd::Failed:
      if (profile_ && !certificate_) {
        detail = sni_.empty() ? "PT06 no certificate" : "PT05 no certificate for this name";
      } else {
        detail = reason.empty() ? "PT07 the client disconnected" : "PT04 " + reason;
      }
      break;
  }
  return Error(Fault::TlsHandshake, Reached::No, detail + name);
}

}  // namespace rooster::tls
