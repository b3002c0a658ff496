#include "net/secure.hpp"

#include "core/address.hpp"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace rooster::net {
namespace {

struct ContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

Error handshake_error(const SSL* ssl) {
  std::string detail = "TLS: ";
  const long verdict = SSL_get_verify_result(ssl);
  const unsigned long code = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(code);
  if (verdict != X509_V_OK) {
    detail += X509_verify_cert_error_string(verdict);
  } else if (reason != nullptr) {
    detail += reason;
  } else {
    detail += "the server hung up";
  }
  ERR_clear_error();
  return Error(Fault::UpstreamRefused, Reached::No, detail);
}

using Pin = std::array<std::uint8_t, 32>;

bool has_pin(const X509* certificate, const Pin& pin) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return false;
  Pin digest{};
  SHA256(der, static_cast<std::size_t>(size), digest.data());
  OPENSSL_free(der);
  return digest == pin;
}

// The pinned authority out of the server's own chain takes the place of the trusted ones; all else
// about the chain is verified as usual.
int verify_pinned(X509_STORE_CTX* verifying, void* argument) {
  const Pin& pin = *static_cast<const Pin*>(argument);
  STACK_OF(X509)* const shown = X509_STORE_CTX_get0_untrusted(verifying);
  STACK_OF(X509)* const trusted = sk_X509_new_null();
  for (int i = 0; i < sk_X509_num(shown); ++i) {
    X509* const certificate = sk_X509_value(shown, i);
    if (has_pin(certificate, pin)) sk_X509_push(trusted, certificate);
  }
  X509_STORE_CTX_set0_trusted_stack(verifying, trusted);
  const int verdict = X509_verify_cert(verifying);
  X509_STORE_CTX_set0_trusted_stack(verifying, nullptr);
  sk_X509_free(trusted);
  return verdict;
}

}  // namespace

struct ClientTls::Impl {
  bool set_up() {
    context.reset(SSL_CTX_new(TLS_client_method()));
    if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1) {
      ERR_clear_error();
      return false;
    }
    SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context.get(), 1);
    return true;
  }
  std::unique_ptr<SSL_CTX, ContextDeleter> context;
  Pin pin{};
};

ClientTls::ClientTls() : impl_(std::make_unique<Impl>()) {}
ClientTls::ClientTls(ClientTls&&) noexcept = default;
ClientTls::~ClientTls() = default;

Result<ClientTls> ClientTls::create(const std::string& trusted, bool verify) {
  ClientTls made;
  if (!made.impl_->set_up()) return fail(Fault::Internal, "TLS could not be set up");
  SSL_CTX* context = made.impl_->context.get();
  SSL_CTX_set_verify(context, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  const int loaded = trusted.empty() ? SSL_CTX_set_default_verify_paths(context)
                                     : SSL_CTX_load_verify_file(context, trusted.c_str());
  ERR_clear_error();
  if (verify && loaded != 1) {
    return fail(Fault::Internal, trusted + ": no PEM certificates of authorities in it");
  }
  return made;
}

// The system's authorities don't count, so they are not read either: that takes some 40 ms.
Result<ClientTls> ClientTls::create_pinned(const std::array<std::uint8_t, 32>& pin) {
  ClientTls made;
  if (!made.impl_->set_up()) return fail(Fault::Internal, "TLS could not be set up");
  made.impl_->pin = pin;
  SSL_CTX_set_verify(made.impl_->context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(made.impl_->context.get(), verify_pinned, &made.impl_->pin);
  return made;
}

SslPtr ClientTls::new_session(const std::string& host) const {
  SslPtr ssl(SSL_new(impl_->context.get()));
  if (!ssl) return ssl;
  SSL_set_connect_state(ssl.get());
  if (IpAddress::parse(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl.get(), host.c_str());
    SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(ssl.get(), host.c_str());
  }
  return ssl;
}

Task<> secure(Stream& stream, const ClientTls& tls, std::string host, Waiter& waiter,
              TimePoint deadline) {
  auto session = tls.new_session(host);
  if (!session) co_return Error(Fault::Internal, Reached::No, "TLS: out of memory");
  stream.secure(std::move(session));
  while (true) {
    const auto status = stream.handshake();
    if (status == ReadResult::Status::Some) co_return {};
    if (status != ReadResult::Status::Later) co_return handshake_error(stream.ssl());
    const Interest output = stream.has_pending() ? stream.writable() : Interest{};
    const Woke woke = co_await waiter.wait(deadline, stream.readable(), output);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
    if (woke == Woke::Deadline) {
      co_return Error(Fault::UpstreamConnectTimeout, Reached::No, "TLS: no answer in time");
    }
    if (!stream.flush()) co_return handshake_error(stream.ssl());
  }
}

}  // namespace rooster::net
