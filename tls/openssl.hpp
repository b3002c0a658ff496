// Owners for OpenSSL's objects and its error queue as text.
#pragma once

#include "core/stream.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace rooster::tls {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};

inline void free_certificates(STACK_OF(X509) * chain) {
  sk_X509_pop_free(chain, X509_free);
}

using SslContextPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using X509StackPtr = std::unique_ptr<STACK_OF(X509), FreeWith<free_certificates>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, FreeWith<EVP_CIPHER_free>>;

/// The newest reason in this thread's OpenSSL error queue, which is empty afterwards; "" when there
/// was none.
std::string take_openssl_error();

}  // namespace rooster::tls
