#include "proxy/client_hello.hpp"

#include "core/stream.hpp"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

namespace rooster::proxy {
namespace {

using Status = HelloPeek::Status;

// The first flight of a real client.
std::string hello_for(const char* name, const char* alpn = nullptr) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  const SslPtr ssl(SSL_new(context.get()));
  if (name != nullptr) SSL_set_tlsext_host_name(ssl.get(), name);
  if (alpn != nullptr) {
    const std::string list =
        static_cast<char>(std::char_traits<char>::length(alpn)) + std::string(alpn);
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(list.data()),
                        static_cast<unsigned>(list.size()));
  }
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), in, out);
  SSL_connect(ssl.get());
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

// The same message in records of `size` bytes each.
std::string split(const std::string& hello, std::size_t size) {
  std::string made;
  for (std::size_t at = 5; at < hello.size(); at += size) {
    const std::string piece = hello.substr(at, size);
    made += hello.substr(0, 3);
    made += static_cast<char>(piece.size() >> 8U);
    made += static_cast<char>(piece.size() & 0xFFU);
    made += piece;
  }
  return made;
}

TEST(ClientHello, GivesTheNameInItsOneSpelling) {
  for (const auto& [asked, name] :
       {std::pair{"cache.app.dev", "cache.app.dev"}, std::pair{"Cache.APP.dev", "cache.app.dev"}}) {
    const HelloPeek peek = peek_client_hello(hello_for(asked, "mqtt"));
    EXPECT_EQ(peek.status, Status::Complete);
    EXPECT_EQ(peek.sni, name);
  }
  const HelloPeek none = peek_client_hello(hello_for(nullptr));
  EXPECT_EQ(none.status, Status::Complete);
  EXPECT_EQ(none.sni, "");
}

TEST(ClientHello, WaitsAtEveryLengthAndTakesAnyRecords) {
  const std::string hello = hello_for("cache.app.dev");
  for (const std::size_t record : {hello.size(), std::size_t{100}, std::size_t{1}}) {
    const std::string bytes = split(hello, record);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      ASSERT_EQ(peek_client_hello(std::string_view(bytes).substr(0, size)).status, Status::NeedMore)
          << size;
    }
    EXPECT_EQ(peek_client_hello(bytes).sni, "cache.app.dev");
  }
}

TEST(ClientHello, WhatMakesNoSenseIsNotTls) {
  std::string hello = hello_for("cache.app.dev");
  EXPECT_EQ(peek_client_hello("GET / HTTP/1.1\r\n").status, Status::NotTls);
  EXPECT_EQ(peek_client_hello(std::string("\x16\x02\0\0\0", 5)).status, Status::NotTls);
  EXPECT_EQ(peek_client_hello(std::string("\x16\x03\x01\0\0", 5)).status, Status::NotTls);
  EXPECT_EQ(peek_client_hello(std::string("\x16\x03\x01\x7F\xFF", 5)).status, Status::NotTls);
  std::string other = hello;
  other[5] = 2;
  EXPECT_EQ(peek_client_hello(other).status, Status::NotTls);
  std::string longer = hello;
  longer[6] = 1;
  EXPECT_EQ(peek_client_hello(longer).status, Status::NotTls);
  std::string broken = hello;
  broken[5 + 4 + 34] = '\xFF';  // a session id beyond the end
  EXPECT_EQ(peek_client_hello(broken).status, Status::NotTls);
}

}  // namespace
}  // namespace rooster::proxy
