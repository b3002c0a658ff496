#include "cli/login.hpp"

#include "cli/peer_file.hpp"
#include "cli/slots.hpp"
#include "cli/state_folder.hpp"
#include "tests/cli/home.hpp"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <fstream>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rooster::cli {
namespace {

using testing::Home;

constexpr const char* kToken = "abcdefgh23-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
constexpr const char* kPin = "_-8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

Login login_of(const std::string& text) {
  auto login = parse_login(text);
  EXPECT_TRUE(login) << login.error().detail;
  return login.value_or(Login{});
}

unsigned mode_of(const std::string& file) {
  struct stat status{};
  EXPECT_EQ(stat(file.c_str(), &status), 0) << file;
  return status.st_mode & 0777U;
}

TEST(Login, IsReadAsItIsPrinted) {
  const Login login = login_of(std::string("https://rooster.app.dev:8443#") + kToken + '.' + kPin);
  EXPECT_EQ(login.host, "rooster.app.dev");
  EXPECT_EQ(login.port, 8443);
  EXPECT_EQ(login.token, kToken);
  EXPECT_EQ(login.token_id(), "abcdefgh23");
  ASSERT_TRUE(login.pin);
  EXPECT_EQ((*login.pin)[0], 0xff);
  EXPECT_EQ(login.url(), "https://rooster.app.dev:8443");
  EXPECT_EQ(login.node_name(), "rooster.app.dev_8443");
  const Login trusted = login_of(std::string("https://rooster.app.dev/#") + kToken);
  EXPECT_FALSE(trusted.pin);
  EXPECT_EQ(trusted.url(), "https://rooster.app.dev");
}

TEST(Login, WhatIsNoneSaysWhy) {
  const std::string token = kToken;
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"http://rooster.app.dev#" + token, "https://"},
           {"https://rooster.app.dev", "no token"},
           {"https://rooster.app.dev#", "token is broken"},
           {"https://#" + token, "no host"},
           {"https://a/../b#" + token, "no host"},
           {"https://rooster.app.dev:0#" + token, "no port"},
           {"https://rooster.app.dev:https#" + token, "no port"},
           {"https://rooster.app.dev#" + token + ".short", "pin is broken"},
           {"https://rooster.app.dev#" + token + ".", "pin is broken"}}) {
    const auto login = parse_login(text);
    ASSERT_FALSE(login) << text;
    EXPECT_NE(login.error().detail.find(why), std::string::npos) << login.error().detail;
    EXPECT_NE(login.error().detail.find("rooster tokens create"), std::string::npos);
  }
}

TEST(Login, IsKeptForItsUserOnlyAndFound) {
  const Home home;
  EXPECT_FALSE(find_login(""));
  Login login = login_of(std::string("https://rooster.app.dev#") + kToken + '.' + kPin);
  login.network = "default";
  login.connect_to = "127.0.0.1";
  ASSERT_TRUE(keep_login(login));
  Login second = login_of(std::string("https://rooster.example.org#") + kToken);
  second.network = "Staging";
  ASSERT_TRUE(keep_login(second));
  EXPECT_EQ(mode_of(home.state()), 0700U);
  EXPECT_EQ(mode_of(home.state() + "/rooster.app.dev/default/login.json"), 0600U);
  const auto last = find_login("");
  ASSERT_TRUE(last);
  EXPECT_EQ(last->host, "rooster.example.org");
  EXPECT_FALSE(last->pin);
  const auto first = find_login("DEFAULT");
  ASSERT_TRUE(first) << first.error().detail;
  EXPECT_EQ(first->url(), login.url());
  EXPECT_EQ(first->pin, login.pin);
  EXPECT_EQ(first->token, login.token);
  EXPECT_EQ(first->connect_to, "127.0.0.1");
  EXPECT_FALSE(find_login("other"));
}

TEST(Login, OfSeveralNodesTheLastOneIsMeant) {
  const Home home;
  for (const char* url : {"https://a.example#", "https://b.example#", "https://c.example#"}) {
    Login login = login_of(std::string(url) + kToken);
    login.network = url == std::string("https://c.example#") ? "other" : "default";
    ASSERT_TRUE(keep_login(login));
  }
  EXPECT_FALSE(find_login("default")) << "neither a nor b is the last one";
  Login again = login_of(std::string("https://a.example#") + kToken);
  again.network = "default";
  ASSERT_TRUE(keep_login(again));
  EXPECT_EQ(find_login("default")->host, "a.example");
}

// ---- a peer's file

PeerFile sample_file() {
  PeerFile file;
  tunnel::KeyBytes bytes;
  bytes.fill(1);
  file.key = tunnel::PrivateKey(bytes);
  bytes.fill(2);
  file.membership.gateway = {bytes};
  file.membership.address = *IpAddress::parse("fdaa:0:18:a7b:2:0:a:102");
  file.membership.network_prefix = *IpAddress::parse("fdaa:0:18::");
  file.membership.dns = *IpAddress::parse("fdaa:0:18::3");
  file.membership.endpoint = "rooster.app.dev:51820";
  return file;
}

TEST(PeerFile, IsFlysToTheByte) {
  EXPECT_EQ(write_peer_file(sample_file(), false),
            "\n"
            "[Interface]\n"
            "PrivateKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
            "Address = fdaa:0:18:a7b:2:0:a:102/120\n"
            "DNS = fdaa:0:18::3\n"
            "\n"
            "[Peer]\n"
            "PublicKey = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n"
            "AllowedIPs = fdaa:0:18::/48\n"
            "Endpoint = rooster.app.dev:51820\n"
            "PersistentKeepalive = 15\n"
            "\n");
}

TEST(PeerFile, SplitDnsAsksTheGatewayForItsOwnNamesOnly) {
  const std::string text = write_peer_file(sample_file(), true);
  EXPECT_EQ(text.find("\nDNS"), std::string::npos);
  EXPECT_NE(text.find("PostUp = resolvectl dns %i fdaa:0:18::3; "
                      "resolvectl domain %i ~internal ~flycast\n"),
            std::string::npos);
}

TEST(PeerFile, ReadsBackWithItsWayToFurtherKeys) {
  PeerFile file = sample_file();
  file.enrol = login_of(std::string("https://rooster.app.dev#") + kToken + '.' + kPin);
  const auto read = parse_peer_file(write_peer_file(file, false));
  ASSERT_TRUE(read) << read.error().detail;
  EXPECT_EQ(read->key.bytes(), file.key.bytes());
  EXPECT_EQ(read->membership.gateway, file.membership.gateway);
  EXPECT_EQ(read->membership.address, file.membership.address);
  EXPECT_EQ(read->membership.network_prefix, file.membership.network_prefix);
  EXPECT_EQ(read->membership.dns, file.membership.dns);
  EXPECT_EQ(read->membership.endpoint, "rooster.app.dev:51820");
  ASSERT_TRUE(read->enrol);
  EXPECT_EQ(read->enrol->url(), "https://rooster.app.dev");
  EXPECT_EQ(read->enrol->token, kToken);
  EXPECT_EQ(read->enrol->pin, file.enrol->pin);
}

TEST(PeerFile, WhatIsWrongIsNamedWithItsLine) {
  const std::string good = write_peer_file(sample_file(), false);
  const auto without = [&good](std::string_view line) {
    std::string text = good;
    const std::size_t at = text.find(line);
    text.erase(at, text.find('\n', at) - at);
    return text;
  };
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "lacks PrivateKey"},
           {without("PrivateKey"), "lacks PrivateKey"},
           {without("Address"), "lacks Address"},
           {without("PublicKey"), "lacks PublicKey"},
           {without("Endpoint"), "lacks Endpoint"},
           {"[Interface]\nPrivateKey = short\n", "line 2: PrivateKey: is no key"},
           {"[Interface]\nhello\n", "line 2: hello: is no"},
           {"[Other]\n", "line 1: [Other]: is neither"},
           {good + good, "one is enough"},
           {"# Rooster-Enrol = https://x\n" + good, "line 1: Rooster-Enrol: it needs"}}) {
    const auto read = parse_peer_file(text);
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().detail.find(why), std::string::npos) << read.error().detail;
  }
  EXPECT_TRUE(parse_peer_file("# a comment\r\n" + good + "Unknown = 1\r\n"));
}

// ---- slots

Login kept_login() {
  Login login = login_of(std::string("https://rooster.app.dev#") + kToken);
  login.network = "default";
  return *keep_login(login);
}

TEST(Slot, NoTwoAreTheSame) {
  const Home home;
  const Login login = kept_login();
  auto first = Slot::take(login);
  ASSERT_TRUE(first) << first.error().detail;
  auto second = Slot::take(login);
  ASSERT_TRUE(second);
  EXPECT_EQ(first->number(), 0);
  EXPECT_EQ(second->number(), 1);
  EXPECT_FALSE(first->is_enrolled());
  EXPECT_EQ(mode_of(login.folder + "/slot-0.key"), 0600U);
  {
    const Slot gone = std::move(*first);
  }
  EXPECT_EQ(Slot::take(login)->number(), 0);
}

TEST(Slot, AKilledProcessLeavesItsSlot) {
  const Home home;
  const Login login = kept_login();
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto slot = Slot::take(login);
    const char number = slot ? static_cast<char>('0' + slot->number()) : 'x';
    static_cast<void>(::write(pipe[1], &number, 1));
    for (;;) ::pause();
  }
  char number = '?';
  ASSERT_EQ(::read(pipe[0], &number, 1), 1);
  EXPECT_EQ(number, '0');
  EXPECT_EQ(Slot::take(login)->number(), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(Slot::take(login)->number(), 0);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

// As a slot that has enrolled before looks on disk.
void write_enrolled(const Login& login, const tunnel::PrivateKey& key, const std::string& token) {
  std::ofstream(login.folder + "/slot-0.key") << tunnel::to_base64(key.bytes()) << '\n';
  std::ofstream(login.folder + "/slot-0.state")
      << "400000000000000100000000\n"
      << R"({"name":"interactive-x","network":"default","address":"fdaa:0:18:a7b:2:0:a:102",)"
      << R"("network_prefix":"fdaa:0:18::/48","dns":"fdaa:0:18::3","endpoint":"h:1",)"
      << R"("gateway_public_key":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",)"
      << R"("public_key":")" << tunnel::to_base64(key.public_key().bytes) << R"(","token":")"
      << token << "\"}\n";
}

TEST(Slot, KeepsItsKeyAndWhenItLastSaidHello) {
  const Home home;
  const Login login = kept_login();
  tunnel::SystemRandom random;
  const auto key = tunnel::PrivateKey::generate(random);
  write_enrolled(login, key, "abcdefgh23");
  {
    auto slot = Slot::take(login);
    ASSERT_TRUE(slot);
    ASSERT_TRUE(slot->is_enrolled());
    EXPECT_EQ(slot->key().bytes(), key.bytes());
    EXPECT_EQ(slot->membership().address.to_string(), "fdaa:0:18:a7b:2:0:a:102");
    EXPECT_EQ(slot->last_sent().bytes[0], 0x40);
    slot->keep(slot->last_sent().next());
    slot->keep(slot->last_sent().next());
  }
  auto slot = Slot::take(login);
  ASSERT_TRUE(slot->is_enrolled());
  tunnel::Tai64n expected;
  expected.bytes = {0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
  EXPECT_EQ(slot->last_sent(), expected.next().next());
}

TEST(Slot, ABrokenOrForeignOneEnrolsAnew) {
  const Home home;
  const Login login = kept_login();
  tunnel::SystemRandom random;
  const auto key = tunnel::PrivateKey::generate(random);
  write_enrolled(login, key, "another123");
  EXPECT_FALSE(Slot::take(login)->is_enrolled()) << "another token's";
  write_enrolled(login, key, "abcdefgh23");
  std::ofstream(login.folder + "/slot-0.key")
      << tunnel::to_base64(tunnel::PrivateKey::generate(random).bytes()) << '\n';
  EXPECT_FALSE(Slot::take(login)->is_enrolled()) << "another key's";
  std::ofstream(login.folder + "/slot-0.state") << "x";
  EXPECT_FALSE(Slot::take(login)->is_enrolled());
}

TEST(LockKey, ASecondProcessIsToldWhoHasIt) {
  const Home home;
  tunnel::SystemRandom random;
  const auto key = tunnel::PrivateKey::generate(random).public_key();
  const auto first = lock_key(key);
  ASSERT_TRUE(first) << first.error().detail;
  const auto second = lock_key(key);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().detail.find("process " + std::to_string(::getpid()) + " uses"),
            std::string::npos)
      << second.error().detail;
}

}  // namespace
}  // namespace rooster::cli
