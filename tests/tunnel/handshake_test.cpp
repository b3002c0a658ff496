// The handshake byte by byte: what two fixed pairs of keys say at a fixed time, as an independent
// implementation of the paper (in Python) has it.
#include "tests/tunnel/hex.hpp"
#include "tunnel/cookie.hpp"
#include "tunnel/noise.hpp"
#include "tunnel/session.hpp"

#include <gtest/gtest.h>

namespace rooster::tunnel {
namespace {

using testing::array_from_hex;
using testing::counting32;
using testing::hex;

constexpr std::string_view kInitiation =
    "010000004433221164b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466158a0e4ca242"
    "d151ca97ab90159a98b67e616625e68b4065d357376b6598e644ad7d678c0295d22de4cb43d5135581ed36346bfa"
    "7cf42a122039f893501235c77785d75a8d36b556be2b6dca0d7b2447492c118e027e16f84bf002f1000000000000"
    "00000000000000000000";
constexpr std::string_view kResponse =
    "020000008877665544332211244fe3b963e899dd295baffce248d3530f3a9a7479ba063002680ebfe7adad49b0ca"
    "f9f42d26ed2fb3cd2ead3fb88abee8ccb41b91a2f15ed2a2865ae1f6151b00000000000000000000000000000000";
constexpr std::string_view kData =
    "040000008877665500000000000000004292dcbe746ba5a77d36ae54fa597fa5598a9584181c08d3abc016099d56"
    "92c8";

class Handshake : public ::testing::Test {
 protected:
  Handshake() : preshared_(array_from_hex<32>(std::string(64, '5'))) {
    stamp_.bytes = array_from_hex<12>("400000006553f10a01000000");
  }

  NoisePeer responder() const { return {responder_.public_key(), shared_, preshared_}; }
  PendingInitiation initiate() {
    wire::put_type(initiation_, wire::Type::Initiation);
    store32(&initiation_[wire::kInitiationSender], 0x11223344);
    auto pending = write_initiation(algorithms_, initiator_, responder(),
                                    X25519Key(PrivateKey(counting32(65))), stamp_, initiation_);
    MacStamper(algorithms_, responder_.public_key()).stamp(algorithms_, initiation_, TimePoint());
    return std::move(pending.value());
  }
  TransportKeys respond(OpenedInitiation opened) {
    wire::put_type(response_, wire::Type::Response);
    store32(&response_[wire::kResponseSender], 0x55667788);
    store32(&response_[wire::kResponseReceiver], 0x11223344);
    const auto keys = write_response(algorithms_, std::move(opened), preshared_,
                                     X25519Key(PrivateKey(counting32(97))), response_);
    MacStamper(algorithms_, initiator_.public_key()).stamp(algorithms_, response_, TimePoint());
    return keys.value();
  }
  std::optional<OpenedInitiation> open() {
    auto opened = open_initiation(algorithms_, responder_, initiation_);
    if (opened && !open_timestamp(algorithms_, *opened, shared_, initiation_)) return std::nullopt;
    return opened;
  }

  Algorithms algorithms_;
  X25519Key initiator_{PrivateKey(counting32(1))};
  X25519Key responder_{PrivateKey(counting32(33))};
  Secret shared_ = initiator_.agree(responder_.public_key()).value();
  PresharedKey preshared_;
  Tai64n stamp_;
  std::array<std::uint8_t, wire::kInitiationBytes> initiation_{};
  std::array<std::uint8_t, wire::kResponseBytes> response_{};
};

TEST_F(Handshake, TranscriptIsThePapersByteForByte) {
  const PendingInitiation pending = initiate();
  EXPECT_EQ(hex(initiation_), kInitiation);
  auto opened = open_initiation(algorithms_, responder_, initiation_);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->initiator, initiator_.public_key());
  EXPECT_EQ(open_timestamp(algorithms_, *opened, shared_, initiation_), stamp_);
  const TransportKeys theirs = respond(std::move(*opened));
  EXPECT_EQ(hex(response_), kResponse);
  const auto ours = read_response(algorithms_, initiator_, pending, preshared_, response_);
  ASSERT_TRUE(ours);
  EXPECT_EQ(hex(ours->send.bytes),
            "341c6e5f9b806dd4004f3436abcafd98b16f39f2355a230496f51b2134bcbe2b");
  EXPECT_EQ(hex(ours->receive.bytes),
            "d02515a7339b896970c045e5099485472e4562e2e5e8b02d1c70562d8fbf6de4");
  EXPECT_EQ(theirs.send.bytes, ours->receive.bytes);
  EXPECT_EQ(theirs.receive.bytes, ours->send.bytes);

  Session session(algorithms_, *ours, 0x11223344, 0x55667788, true, TimePoint());
  std::array<std::uint8_t, 48> datagram;
  session.seal(bytes_of("hello, hello, he"), 0, datagram);
  EXPECT_EQ(hex(datagram), kData);
}

TEST_F(Handshake, EveryDamagedByteOfAnInitiationIsRefused) {
  initiate();
  for (std::size_t at = wire::kInitiationEphemeral; at < wire::mac1_at(initiation_.size()); ++at) {
    initiation_[at] ^= 0x40;
    EXPECT_FALSE(open()) << at;
    initiation_[at] ^= 0x40;
  }
  EXPECT_TRUE(open());
}

TEST_F(Handshake, EveryDamagedByteOfAResponseIsRefused) {
  const PendingInitiation pending = initiate();
  respond(open().value());
  const auto read = [&] {
    return read_response(algorithms_, initiator_, pending, preshared_, response_);
  };
  for (std::size_t at = wire::kResponseEphemeral; at < wire::mac1_at(response_.size()); ++at) {
    response_[at] ^= 0x04;
    EXPECT_FALSE(read()) << at;
    response_[at] ^= 0x04;
  }
  EXPECT_TRUE(read());
}

TEST_F(Handshake, AnotherPresharedKeyOrStaticKeyIsRefused) {
  const PendingInitiation pending = initiate();
  respond(open().value());
  EXPECT_FALSE(
      read_response(algorithms_, initiator_, pending, PresharedKey(counting32(9)), response_));
  EXPECT_FALSE(read_response(algorithms_, responder_, pending, preshared_, response_));
  EXPECT_FALSE(open_initiation(algorithms_, initiator_, initiation_));
}

TEST_F(Handshake, LowOrderEphemeralKeysAreRefused) {
  const PendingInitiation pending = initiate();
  respond(open().value());
  std::fill_n(&initiation_[wire::kInitiationEphemeral], kKeyBytes, std::uint8_t{0});
  EXPECT_FALSE(open_initiation(algorithms_, responder_, initiation_));
  std::fill_n(&response_[wire::kResponseEphemeral], kKeyBytes, std::uint8_t{0});
  EXPECT_FALSE(read_response(algorithms_, initiator_, pending, preshared_, response_));
}

}  // namespace
}  // namespace rooster::tunnel
