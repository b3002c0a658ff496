// The text of `wg show` and `wg set`: what is read, refused, done and said.
#include "tunnel/uapi.hpp"

#include "tests/tunnel/pair.hpp"

#include <cerrno>

namespace rooster::tunnel {
namespace {

using testing::moment;
using testing::Pair;
using testing::prefixes;
using namespace std::chrono_literals;

// From https://www.wireguard.com/xplatform/, with one line changed: a scope is not supported.
constexpr std::string_view kExample =
    "set=1\n"
    "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n"
    "fwmark=0\n"
    "listen_port=12912\n"
    "replace_peers=true\n"
    "public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n"
    "preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52\n"
    "replace_allowed_ips=true\n"
    "allowed_ip=192.168.4.4/32\n"
    "endpoint=[abcd:23::33]:51820\n"
    "public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376\n"
    "replace_allowed_ips=true\n"
    "allowed_ip=192.168.4.6/32\n"
    "persistent_keepalive_interval=111\n"
    "endpoint=182.122.22.19:3233\n"
    "public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58\n"
    "endpoint=5.152.198.39:51820\n"
    "replace_allowed_ips=true\n"
    "allowed_ip=192.168.4.10/32\n"
    "allowed_ip=192.168.4.11/32\n"
    "public_key=e818b58db5274087fcc1be5dc728cf53d3b5726b4cef6b9bab8f8f8c2452c25c\n"
    "remove=true\n"
    "\n";

class Uapi : public ::testing::Test {
 protected:
  int set(std::string_view text, UapiPolicy policy = UapiPolicy::All) {
    const auto request = parse_uapi(text);
    if (!request) return request.error();
    if (const int refused = refusal_of(*request, device_, policy); refused != 0) return refused;
    return apply_uapi(*request, device_, moment(0s));
  }
  std::string get() { return format_uapi(device_, {12912, 0}, moment(0s)); }

  testing::SeededRandom random_{1};
  Device device_{PrivateKey::generate(random_), {}, random_};
};

TEST_F(Uapi, DoesTheExampleOfTheSpecification) {
  ASSERT_EQ(set(kExample), 0);
  ASSERT_EQ(device_.peers().size(), 3u);
  EXPECT_EQ(get(),
            "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n"
            "listen_port=12912\n"
            "public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n"
            "preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52\n"
            "protocol_version=1\n"
            "endpoint=[abcd:23::33]:51820\n"
            "last_handshake_time_sec=0\nlast_handshake_time_nsec=0\n"
            "tx_bytes=0\nrx_bytes=0\npersistent_keepalive_interval=0\n"
            "allowed_ip=192.168.4.4/32\n"
            "public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376\n"
            "preshared_key=0000000000000000000000000000000000000000000000000000000000000000\n"
            "protocol_version=1\n"
            "endpoint=182.122.22.19:3233\n"
            "last_handshake_time_sec=0\nlast_handshake_time_nsec=0\n"
            "tx_bytes=0\nrx_bytes=0\npersistent_keepalive_interval=111\n"
            "allowed_ip=192.168.4.6/32\n"
            "public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58\n"
            "preshared_key=0000000000000000000000000000000000000000000000000000000000000000\n"
            "protocol_version=1\n"
            "endpoint=5.152.198.39:51820\n"
            "last_handshake_time_sec=0\nlast_handshake_time_nsec=0\n"
            "tx_bytes=0\nrx_bytes=0\npersistent_keepalive_interval=0\n"
            "allowed_ip=192.168.4.10/32\nallowed_ip=192.168.4.11/32\n"
            "errno=0\n\n");
}

TEST_F(Uapi, ShowsHandshakesAndBytes) {
  Pair pair;
  pair.run_for(1500ms);
  pair.connect();
  const std::string text = format_uapi(pair.left.device, {}, pair.now());
  EXPECT_NE(text.find("last_handshake_time_sec=1700000001\nlast_handshake_time_nsec=500000000\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("rx_bytes=236\n"), std::string::npos) << text;  // 92 + 144
  EXPECT_NE(text.find("tx_bytes=292\n"), std::string::npos) << text;  // 148 + 144
  EXPECT_EQ(text.find("listen_port"), std::string::npos);
}

TEST_F(Uapi, ChangesAndRemovesAPeer) {
  ASSERT_EQ(set(kExample), 0);
  const std::string key =
      "public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n";
  EXPECT_EQ(set("set=1\n" + key + "allowed_ip=10.0.0.0/8\npersistent_keepalive_interval=off\n\n"),
            0);
  const PeerId peer = device_.peers()[0];
  EXPECT_EQ(device_.settings(peer)->allowed_ips, prefixes({"192.168.4.4/32", "10.0.0.0/8"}));
  EXPECT_EQ(set("set=1\n" + key + "replace_allowed_ips=true\n\n"), 0);
  EXPECT_TRUE(device_.settings(peer)->allowed_ips.empty());
  EXPECT_EQ(set("set=1\n" + key + "remove=true\n\n"), 0);
  EXPECT_FALSE(device_.settings(peer));
  EXPECT_EQ(set("set=1\n" + key + "update_only=true\nallowed_ip=10.0.0.0/8\n\n"), 0);
  EXPECT_EQ(device_.peers().size(), 2u);
}

TEST_F(Uapi, GatewayLetsOnlyTheHarmlessThrough) {
  ASSERT_EQ(set(kExample), 0);
  const std::string known =
      "set=1\npublic_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n";
  const std::string unknown =
      "set=1\npublic_key=e818b58db5274087fcc1be5dc728cf53d3b5726b4cef6b9bab8f8f8c2452c25c\n";
  const std::string zeros(64, '0');
  for (const std::string& text :
       {std::string("get=1\n\n"), known + "endpoint=192.0.2.1:5\n\n",
        known + "persistent_keepalive_interval=5\n\n", known + "preshared_key=" + zeros + "\n\n",
        known + "remove=true\n\n"}) {
    EXPECT_EQ(refusal_of(parse_uapi(text).value(), device_, UapiPolicy::Gateway), 0) << text;
  }
  for (const std::string& text :
       {known + "allowed_ip=::/0\n\n", known + "replace_allowed_ips=true\n\n",
        known + "remove=true\n" + known.substr(6) + "\n", unknown + "endpoint=192.0.2.1:5\n\n",
        unknown + "remove=true\n\n", std::string("set=1\nreplace_peers=true\n\n"),
        std::string("set=1\nlisten_port=1\n\n"), std::string("set=1\nfwmark=1\n\n"),
        "set=1\nprivate_key=" + zeros + "\n\n"}) {
    EXPECT_EQ(set(text, UapiPolicy::Gateway), EPERM) << text;
  }
  EXPECT_EQ(device_.peers().size(), 3u);
}

TEST_F(Uapi, RefusesWhatItDoesNotUnderstand) {
  const std::string key =
      "public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n";
  for (const std::string& text : {std::string(),
                                  std::string("\n"),
                                  std::string("get=2\n\n"),
                                  std::string("get=1\nx=1\n\n"),
                                  std::string("set=1\n"),
                                  std::string("set=1\nnonsense\n\n"),
                                  std::string("set=1\nx=1\n\n"),
                                  std::string("set=1\nlisten_port=65536\n\n"),
                                  std::string("set=1\nlisten_port=-1\n\n"),
                                  std::string("set=1\nprivate_key=00\n\n"),
                                  std::string("set=1\nreplace_peers=false\n\n"),
                                  std::string("set=1\npublic_key=zz\n\n"),
                                  std::string("set=1\nremove=true\n\n"),
                                  "set=1\n" + key + "endpoint=localhost:1\n\n",
                                  "set=1\n" + key + "endpoint=::1:1\n\n",
                                  "set=1\n" + key + "endpoint=[192.0.2.1]:1\n\n",
                                  "set=1\n" + key + "endpoint=192.0.2.1\n\n",
                                  "set=1\n" + key + "allowed_ip=10.0.0.0/33\n\n",
                                  "set=1\n" + key + "protocol_version=2\n\n",
                                  "set=1\n" + key + "persistent_keepalive_interval=65536\n\n",
                                  "set=1\n" + key + "listen_port=1\n\n"}) {
    const auto request = parse_uapi(text);
    ASSERT_FALSE(request) << text;
    EXPECT_EQ(request.error(), EINVAL);
  }
  EXPECT_EQ(parse_uapi(std::string(kMaxUapiBytes + 1, 'x')).error(), E2BIG);
}

TEST_F(Uapi, KnowsWhenARequestIsWhole) {
  EXPECT_FALSE(is_complete_uapi(""));
  EXPECT_FALSE(is_complete_uapi("get=1\n"));
  EXPECT_TRUE(is_complete_uapi("get=1\n\n"));
  EXPECT_TRUE(is_complete_uapi(kExample));
  EXPECT_TRUE(is_complete_uapi("\n"));
}

TEST_F(Uapi, ErrorsAreNegative) {
  EXPECT_EQ(format_uapi_error(EPERM), "errno=-1\n\n");
  EXPECT_EQ(format_uapi_error(0), "errno=0\n\n");
}

}  // namespace
}  // namespace rooster::tunnel
