#include "core/stream.hpp"

#include "core/buffer.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

namespace rooster {
namespace {

using namespace std::chrono_literals;
using Status = ReadResult::Status;

struct Ends {
  explicit Ends(Loop& loop) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    a = std::make_unique<Stream>(loop, Descriptor(fds[0]));
    b = std::make_unique<Stream>(loop, Descriptor(fds[1]));
  }
  std::unique_ptr<Stream> a;
  std::unique_ptr<Stream> b;
};

std::string read_all(Loop& loop, Stream& stream, std::size_t wanted) {
  std::string out;
  std::string piece(64 * 1024, '\0');
  for (int turn = 0; turn < 5000 && out.size() < wanted; ++turn) {
    const ReadResult got = stream.read(piece);
    if (got.status == Status::Some) {
      out.append(piece, 0, got.bytes);
    } else if (got.status != Status::Later) {
      break;
    } else {
      loop.run_for(1ms);
    }
  }
  return out;
}

// A throw-away pair of contexts with a self-signed P-256 certificate.
struct TlsPair {
  TlsPair() : server(SSL_CTX_new(TLS_server_method())), client(SSL_CTX_new(TLS_client_method())) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(server, certificate);
    SSL_CTX_use_PrivateKey(server, key);
    SSL_CTX_set_mode(server, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(server, 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~TlsPair() {
    SSL_CTX_free(server);
    SSL_CTX_free(client);
  }
  void secure(Ends& ends) {
    SslPtr accepting(SSL_new(server));
    SSL_set_accept_state(accepting.get());
    ends.a->secure(std::move(accepting));
    SslPtr connecting(SSL_new(client));
    SSL_set_connect_state(connecting.get());
    ends.b->secure(std::move(connecting));
  }
  SSL_CTX* server;
  SSL_CTX* client;
};

bool shake_hands(Loop& loop, Ends& ends) {
  bool a = false;
  bool b = false;
  for (int turn = 0; turn < 100 && !(a && b); ++turn) {
    if (!b) b = ends.b->handshake() == Status::Some;
    if (!a) a = ends.a->handshake() == Status::Some;
    loop.run_for(1ms);
  }
  return a && b;
}

TEST(Stream, ReadsWhatWasWrittenAndThenTheEnd) {
  Loop loop;
  Ends ends(loop);
  EXPECT_TRUE(ends.a->write("hello ", "world"));
  EXPECT_EQ(read_all(loop, *ends.b, 11), "hello world");
  ends.a->shutdown_write();
  loop.run_for(1ms);
  char byte;
  EXPECT_EQ(ends.b->read({&byte, 1}).status, Status::End);
}

TEST(Stream, TheEndBehindDataIsNotLost) {
  Loop loop;
  Ends ends(loop);
  ends.a->write("x");
  ends.a->shutdown_write();
  loop.run_for(1ms);
  std::string piece(100, '\0');
  EXPECT_EQ(ends.b->read(piece).status, Status::Some);
  EXPECT_EQ(ends.b->read(piece).status, Status::End);
}

TEST(Stream, KeepsWhatTheKernelDoesNotTake) {
  Loop loop;
  Ends ends(loop);
  const std::string big(4 * 1024 * 1024, 'a');
  EXPECT_TRUE(ends.a->write(big));
  EXPECT_TRUE(ends.a->has_pending());
  std::string got;
  for (int turn = 0; turn < 2000 && got.size() < big.size(); ++turn) {
    got += read_all(loop, *ends.b, 1);
    ends.a->flush();
  }
  EXPECT_EQ(got.size(), big.size());
  EXPECT_FALSE(ends.a->has_pending());
  EXPECT_EQ(ends.a->sent_bytes(), big.size());
}

TEST(Stream, AFailedPeerIsToldByTheNextWrite) {
  Loop loop;
  Ends ends(loop);
  ends.b.reset();
  EXPECT_FALSE(ends.a->write("x"));
  EXPECT_TRUE(ends.a->is_broken());
  EXPECT_EQ(ends.a->sent_bytes(), 0u);
}

TEST(Stream, AnEndIsAFailureWhereItsFlagSaysReset) {
  Loop loop;
  const Ends ends(loop);
  const auto reset = std::make_shared<std::atomic<bool>>(false);
  ends.b->watch_reset(reset);
  ends.a->write("half an answer");
  EXPECT_EQ(read_all(loop, *ends.b, 14), "half an answer");
  reset->store(true);
  ends.a->close();
  char byte = 0;
  Status status = Status::Later;
  for (int turn = 0; turn < 5000 && status == Status::Later; ++turn) {
    loop.run_for(1ms);
    status = ends.b->read({&byte, 1}).status;
  }
  EXPECT_EQ(status, Status::Failed);
}

TEST(Stream, CarriesTlsBothWays) {
  Loop loop;
  TlsPair tls;
  Ends ends(loop);
  tls.secure(ends);
  ASSERT_TRUE(shake_hands(loop, ends));
  const std::string up(200'000, 'u');
  EXPECT_TRUE(ends.b->write(up));
  std::string got;
  for (int turn = 0; turn < 500 && got.size() < up.size(); ++turn) {
    got += read_all(loop, *ends.a, 1);
    ends.b->flush();
  }
  EXPECT_EQ(got, up);
  EXPECT_TRUE(ends.a->write("head", "body"));
  EXPECT_EQ(read_all(loop, *ends.b, 8), "headbody");
}

// What OpenSSL holds already is no matter of the kernel's readiness.
TEST(Stream, ARecordLargerThanTheReadIsTakenToItsEnd) {
  Loop loop;
  TlsPair tls;
  Ends ends(loop);
  tls.secure(ends);
  ASSERT_TRUE(shake_hands(loop, ends));
  const std::string sent(16'000, 'r');
  EXPECT_TRUE(ends.b->write(sent));
  loop.run_for(1ms);
  std::string got;
  std::string piece(1000, '\0');
  while (ends.a->may_read() && got.size() <= sent.size()) {
    const ReadResult read = ends.a->read(piece);
    if (read.status != Status::Some) break;
    got.append(piece, 0, read.bytes);
  }
  EXPECT_EQ(got, sent);
  EXPECT_EQ(ends.a->read(piece).status, Status::Later);
  EXPECT_FALSE(ends.a->may_read());
}

TEST(Stream, AKeyUpdateIsAnsweredInPassing) {
  Loop loop;
  TlsPair tls;
  Ends ends(loop);
  tls.secure(ends);
  ASSERT_TRUE(shake_hands(loop, ends));
  ASSERT_EQ(SSL_key_update(ends.b->ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
  EXPECT_TRUE(ends.b->write("question"));
  EXPECT_EQ(read_all(loop, *ends.a, 8), "question");
  EXPECT_TRUE(ends.a->write("answer"));
  EXPECT_EQ(read_all(loop, *ends.b, 6), "answer");
}

TEST(Stream, ATlsEndWithoutCloseNotifyIsAFailure) {
  Loop loop;
  TlsPair tls;
  Ends ends(loop);
  tls.secure(ends);
  ASSERT_TRUE(shake_hands(loop, ends));
  ends.b->close();
  loop.run_for(1ms);
  std::string piece(100, '\0');
  EXPECT_EQ(ends.a->read(piece).status, Status::Failed);
}

TEST(Stream, CloseNotifyIsAnOrderlyEnd) {
  Loop loop;
  TlsPair tls;
  Ends ends(loop);
  tls.secure(ends);
  ASSERT_TRUE(shake_hands(loop, ends));
  read_all(loop, *ends.b, 1);  // the session tickets
  ends.b->shutdown_write();
  loop.run_for(1ms);
  std::string piece(100, '\0');
  EXPECT_EQ(ends.a->read(piece).status, Status::End);
}

TEST(ReadBuffer, HoldsNoMemoryWhileEmptyAndGrowsForALargeHead) {
  BlockPool pool(16, 4);
  ReadBuffer buffer(pool);
  std::memcpy(buffer.space().data(), "0123456789abcdef", 16);
  buffer.produced(16);
  EXPECT_TRUE(buffer.full());
  buffer.grow(32);
  EXPECT_EQ(buffer.view(), "0123456789abcdef");
  EXPECT_EQ(buffer.space().size(), 16u);
  buffer.consume(10);
  buffer.shrink();
  EXPECT_EQ(buffer.view(), "abcdef");
  EXPECT_EQ(buffer.capacity(), 6u);
  buffer.expand();
  EXPECT_EQ(buffer.view(), "abcdef");
  EXPECT_EQ(buffer.capacity(), 16u);
  buffer.consume(6);
  EXPECT_TRUE(buffer.empty());
}

}  // namespace
}  // namespace rooster
