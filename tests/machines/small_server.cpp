#include "tests/machines/small_server.hpp"

#include "tests/machines/child.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace rooster::machines::apps {

namespace {

SSL_CTX* self_signed_context() {
  SSL_CTX* context = ::SSL_CTX_new(::TLS_server_method());
  EVP_PKEY* key = ::EVP_EC_gen("P-256");
  X509* certificate = ::X509_new();
  ::X509_set_version(certificate, 2);
  ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate), 1);
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate), -60);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate), 3600);
  ::X509_set_pubkey(certificate, key);
  X509_NAME* name = ::X509_get_subject_name(certificate);
  ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("app.example"), -1, -1, 0);
  ::X509_set_issuer_name(certificate, name);
  EXPECT_GT(::X509_sign(certificate, key, ::EVP_sha256()), 0);
  EXPECT_EQ(::SSL_CTX_use_certificate(context, certificate), 1);
  EXPECT_EQ(::SSL_CTX_use_PrivateKey(context, key), 1);
  ::X509_free(certificate);
  ::EVP_PKEY_free(key);
  return context;
}

}  // namespace

SmallServer::SmallServer(std::string answer, Tls tls)
    : socket_(listen_on("127.0.0.1")),
      tls_(tls == Tls::Yes ? self_signed_context() : nullptr),
      answer_(std::move(answer)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

SmallServer::~SmallServer() {
  thread_.request_stop();
  thread_.join();
  ::SSL_CTX_free(tls_);
}

std::uint16_t SmallServer::port() const {
  return port_of(socket_);
}

void SmallServer::answer(std::string text) {
  const std::scoped_lock lock(mutex_);
  answer_ = std::move(text);
}

std::string SmallServer::last_request() {
  const std::scoped_lock lock(mutex_);
  return last_request_;
}

void SmallServer::run(const std::stop_token& stop) {
  pollfd wanted{socket_.get(), POLLIN, 0};
  while (!stop.stop_requested()) {
    if (::poll(&wanted, 1, 10) <= 0) continue;
    const Descriptor client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const timeval patience{.tv_sec = 2, .tv_usec = 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    serve(client.get());
  }
}

void SmallServer::serve(int client) {
  SSL* session = tls_ != nullptr ? ::SSL_new(tls_) : nullptr;
  if (session != nullptr) {
    ::SSL_set_fd(session, client);
    if (::SSL_accept(session) != 1) return ::SSL_free(session);
  }
  std::string request;
  char block[4096];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const auto got = session != nullptr ? ::SSL_read(session, block, sizeof block)
                                        : static_cast<int>(::recv(client, block, sizeof block, 0));
    if (got <= 0) break;
    request.append(block, static_cast<std::size_t>(got));
  }
  std::string text;
  {
    const std::scoped_lock lock(mutex_);
    last_request_ = request;
    text = answer_;
  }
  if (session != nullptr) {
    ::SSL_write(session, text.data(), static_cast<int>(text.size()));
    ::SSL_shutdown(session);
    ::SSL_free(session);
  } else {
    (void)::send(client, text.data(), text.size(), MSG_NOSIGNAL);
  }
}

}  // namespace rooster::machines::apps
