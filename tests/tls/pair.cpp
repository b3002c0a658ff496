#include "tests/tls/pair.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <fstream>

namespace rooster::tls::testing {
namespace {

std::string text_of(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

std::string ticket_of(const SSL_SESSION* session) {
  const unsigned char* bytes = nullptr;
  std::size_t size = 0;
  SSL_SESSION_get0_ticket(session, &bytes, &size);
  return {reinterpret_cast<const char*>(bytes), size};
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  static_cast<Outcome*>(SSL_get_app_data(ssl))->session.reset(session);
  return 1;
}

SslContextPtr client_context(const ClientOptions& options) {
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (options.version != 0) {
    SSL_CTX_set_min_proto_version(context.get(), options.version);
    SSL_CTX_set_max_proto_version(context.get(), options.version);
    SSL_CTX_set_security_level(context.get(), 0);
  }
  if (!options.suites13.empty()) SSL_CTX_set_ciphersuites(context.get(), options.suites13.c_str());
  if (!options.suites12.empty()) SSL_CTX_set_cipher_list(context.get(), options.suites12.c_str());
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), keep_session);
  std::string wire;
  for (const auto& protocol : options.alpn) wire += static_cast<char>(protocol.size()) + protocol;
  SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                          static_cast<unsigned>(wire.size()));
  return context;
}

}  // namespace

Folder::Folder() {
  std::string name = std::filesystem::temp_directory_path() / "rooster-tls-XXXXXX";
  path_ = ::mkdtemp(name.data());
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void Folder::write(const std::string& name, const std::string& text) const {
  std::ofstream(path(name), std::ios::binary) << text;
}

Pem make_pem(const std::vector<std::string>& names, bool rsa, int days) {
  const KeyPtr key(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  const X509Ptr made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
  const auto now = std::chrono::system_clock::to_time_t(today());
  ASN1_TIME_set(X509_getm_notBefore(made.get()), now - 200L * 86400);
  ASN1_TIME_set(X509_getm_notAfter(made.get()), now + days * 86400L);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(names.front().c_str()), -1, -1,
                             0);
  X509_set_issuer_name(made.get(), X509_get_subject_name(made.get()));
  X509_set_pubkey(made.get(), key.get());
  std::string alternatives;
  for (const auto& name : names) alternatives += (alternatives.empty() ? "DNS:" : ",DNS:") + name;
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternatives.c_str());
  X509_add_ext(made.get(), extension, -1);
  X509_EXTENSION_free(extension);
  X509_sign(made.get(), key.get(), EVP_sha256());
  const BioPtr certificate(BIO_new(BIO_s_mem()));
  const BioPtr private_key(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate.get(), made.get());
  PEM_write_bio_PrivateKey(private_key.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(certificate.get()), text_of(private_key.get())};
}

WallTime today() {
  return std::chrono::system_clock::now();
}

Outcome shake(const ServerContext& context, const ClientOptions& options) {
  Outcome outcome;
  const SslContextPtr client_ctx = client_context(options);
  const rooster::SslPtr client(SSL_new(client_ctx.get()));
  const rooster::SslPtr server = context.new_session();
  BIO* near_end = nullptr;
  BIO* far_end = nullptr;
  BIO_new_bio_pair(&near_end, 1 << 16, &far_end, 1 << 16);
  SSL_set_bio(client.get(), near_end, near_end);
  SSL_set_bio(server.get(), far_end, far_end);
  SSL_set_connect_state(client.get());
  SSL_set_app_data(client.get(), &outcome);
  if (!options.sni.empty()) SSL_set_tlsext_host_name(client.get(), options.sni.c_str());
  // A copy: the client marks a session that it has used.
  const SessionPtr offered(options.session != nullptr ? SSL_SESSION_dup(options.session) : nullptr);
  if (offered) SSL_set_session(client.get(), offered.get());
  const PendingHandshake pending(context, *server);
  bool server_done = false;
  for (int turn = 0; turn < 20 && !(outcome.client_done && server_done); ++turn) {
    outcome.client_done = SSL_do_handshake(client.get()) == 1;
    take_openssl_error();
    const int done = SSL_do_handshake(server.get());
    server_done = done == 1;
    if (!server_done && SSL_get_error(server.get(), done) != SSL_ERROR_WANT_READ) {
      outcome.server = std::unexpected(pending.failed(HandshakeEnd::Failed));
      SSL_do_handshake(client.get());
      take_openssl_error();
      return outcome;
    }
  }
  if (server_done) outcome.server = pending.finished();
  char byte = 0;
  SSL_read(client.get(), &byte, 1);  // takes in the ticket
  take_openssl_error();
  const X509Ptr peer(SSL_get1_peer_certificate(client.get()));
  if (peer) {
    char name[256] = {};
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer.get()), NID_commonName, name, sizeof name);
    outcome.served = name;
  }
  outcome.client_cipher = SSL_get_cipher_name(client.get());
  // TLS 1.2 tells of a renewed ticket by no callback.
  if (!outcome.session && offered &&
      ticket_of(SSL_get0_session(client.get())) != ticket_of(options.session)) {
    outcome.session.reset(SSL_get1_session(client.get()));
  }
  // As after an orderly end: a session that was cut is not resumable.
  SSL_set_shutdown(client.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  return outcome;
}

std::shared_ptr<const TicketKeys> new_tickets() {
  return std::make_shared<const TicketKeys>(TicketKeys::fresh(today(), TicketKeys::random()));
}

std::unique_ptr<ServerContext> new_context(std::shared_ptr<const CertificateStore> store,
                                           TlsProfile profile,
                                           std::shared_ptr<const TicketKeys> tickets) {
  if (!tickets) tickets = new_tickets();
  auto made = ServerContext::create(std::move(profile), std::move(store), std::move(tickets));
  return made ? std::move(*made) : nullptr;
}

CertificateInputs inputs_of(const Folder& folder, const std::vector<std::string>& names) {
  CertificateInputs inputs;
  for (const auto& name : names) {
    inputs.files.push_back({folder.path(name + ".pem"), folder.path(name + ".key")});
  }
  return inputs;
}

}  // namespace rooster::tls::testing
