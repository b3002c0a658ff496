#include "cluster/embedded_registry.hpp"

#include "cluster/archive.hpp"
#include "tests/cluster/fixture.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace rooster::cluster {
namespace {

using namespace std::chrono_literals;

const IpAddress kSource = *IpAddress::parse("192.0.2.7");

class EmbeddedRegistryTest : public testing::Test {
 protected:
  EmbeddedRegistryTest() {
    registry_.on_change([this](const Change& change) {
      for (const auto& peer : change.now) told_ += '+' + peer->name + ' ';
      for (const auto& peer : change.gone) told_ += '-' + peer->name + ' ';
      for (const auto& token : change.tokens_gone) told_ += "!" + token + ' ';
    });
  }

  // What a call's Done was given; the embedded registry calls it at once.
  template <class T, class Call>
  static Result<T> result_of(Call call) {
    std::optional<Result<T>> result;
    call([&result](Result<T> given) { result.emplace(std::move(given)); });
    return std::move(*result);
  }
  Result<CreatedPeer> create(PeerRequest request) {
    return result_of<CreatedPeer>(
        [&](auto done) { registry_.create_peer(request, now_, std::move(done)); });
  }
  Result<CreatedPeer> enrol(const Token& token, PeerRequest request) {
    return result_of<CreatedPeer>(
        [&](auto done) { registry_.enrol(token, request, now_, std::move(done)); });
  }
  Result<PeerPtr> remove(const std::string& name) {
    return result_of<PeerPtr>(
        [&](auto done) { registry_.remove_peer("", name, now_, std::move(done)); });
  }
  Result<CreatedPeer> reset(const std::string& name, Key key) {
    return result_of<CreatedPeer>(
        [&](auto done) { registry_.reset_peer("default", name, key, now_, std::move(done)); });
  }
  Result<CreatedToken> make_token(TokenRequest request) {
    return result_of<CreatedToken>(
        [&](auto done) { registry_.create_token(request, now_, std::move(done)); });
  }
  Result<TokenPtr> revoke(const std::string& id) {
    return result_of<TokenPtr>(
        [&](auto done) { registry_.revoke_token(id, now_, std::move(done)); });
  }
  PeerRequest named(const std::string& name) {
    return {.key = key_of(++last_key_), .name = name, .region = "gru"};
  }
  PeerRequest ephemeral() { return {.key = key_of(++last_key_), .ephemeral = true}; }
  Fault fault_of(PeerRequest request) {
    const auto made = create(std::move(request));
    return made ? Fault::None : made.error().fault;
  }

  WallTime now_ = kStart;
  std::uint8_t last_key_ = 0;
  Rows kept_;
  std::string told_;
  EmbeddedRegistry registry_{{}, counting_random(), [this](Rows rows) {
                               for (Row& row : rows) kept_.push_back(std::move(row));
                             }};
};

TEST_F(EmbeddedRegistryTest, APeerHasAnAddressInItsNetwork) {
  const auto made = create(named("laptop"));
  ASSERT_TRUE(made) << made.error().detail;
  const PeerPtr peer = made->peer;
  EXPECT_EQ(private_kind(peer->address), PrivateKind::Peer);
  EXPECT_EQ(registry_.addresses().find_network("DEFAULT"), peer->network);
  EXPECT_EQ(registry_.find_peer("default", "LapTop"), peer);
  EXPECT_EQ(registry_.find_peer("", "laptop"), peer);
  EXPECT_EQ(registry_.find_peer(peer->key), peer);
  EXPECT_EQ(told_, "+laptop ");
}

TEST_F(EmbeddedRegistryTest, NamesAndKeysAreChecked) {
  ASSERT_TRUE(create(named("laptop")));
  EXPECT_EQ(fault_of(named("LAPTOP")), Fault::PeerExists);
  EXPECT_EQ(fault_of({.key = key_of(1), .name = "other"}), Fault::PeerExists);
  EXPECT_EQ(fault_of({.key = Key{}, .name = "other"}), Fault::BadRequest);
  for (const char* name : {"", "a.b", "a b", "ü", "interactive-x", "Interactive-x"}) {
    EXPECT_EQ(fault_of(named(name)), Fault::BadRequest) << name;
  }
  EXPECT_EQ(fault_of(named(std::string(64, 'a'))), Fault::BadRequest);
  EXPECT_EQ(fault_of(named(std::string(63, 'a'))), Fault::None);
  auto elsewhere = named("laptop");
  elsewhere.network = "0x";
  EXPECT_EQ(fault_of(elsewhere), Fault::BadRequest);
  elsewhere.network = "other";
  EXPECT_EQ(fault_of(elsewhere), Fault::None);
  const auto removed = remove("laptop");
  ASSERT_FALSE(removed);
  EXPECT_NE(removed.error().detail.find("network"), std::string::npos);
}

TEST_F(EmbeddedRegistryTest, ATokenIsWhatItsTextSays) {
  const auto made = make_token({.apps = {"db"}, .rights = {Right::Connect, Right::Exec}});
  ASSERT_TRUE(made);
  const auto token = registry_.authorize(made->text, kSource, now_);
  ASSERT_TRUE(token);
  EXPECT_TRUE((*token)->allows(Right::Exec, "DB"));
  EXPECT_FALSE((*token)->allows(Right::Exec, "web"));
  EXPECT_FALSE((*token)->allows(Right::Peers, "db"));
  std::string wrong = made->text;
  wrong.back() = wrong.back() == 'A' ? 'B' : 'A';
  for (const std::string& text : {wrong, made->text + "A", std::string(), std::string(54, '-')}) {
    const auto refused = registry_.authorize(text, kSource, now_);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().fault, Fault::BadToken);
  }
  // The secret itself is nowhere.
  for (const Row& row : kept_) {
    if (const auto* kept = std::get_if<Token>(&row)) {
      EXPECT_EQ(made->text.find(kept->note.empty() ? "?" : kept->note), std::string::npos);
      EXPECT_EQ(kept->id, made->token->id);
    }
  }
}

TEST_F(EmbeddedRegistryTest, GuessingIsSlowedDownForItsSourceOnly) {
  const auto made = make_token({});
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(registry_.authorize("x", kSource, now_).error().fault, Fault::BadToken);
  }
  EXPECT_EQ(registry_.authorize(made->text, kSource, now_).error().fault, Fault::TokenBackoff);
  EXPECT_TRUE(registry_.authorize(made->text, *IpAddress::parse("192.0.2.8"), now_));
  EXPECT_TRUE(registry_.authorize(made->text, kSource, now_ + 60s));
}

TEST_F(EmbeddedRegistryTest, ATokenEndsWithItsLife) {
  const auto made = make_token({.ttl = 90s});
  const auto child = enrol(*made->token, ephemeral());
  ASSERT_TRUE(child);
  EXPECT_EQ(child->peer->expires, now_ + 90s);
  EXPECT_TRUE(registry_.authorize(made->text, kSource, now_ + 89s));
  EXPECT_FALSE(registry_.authorize(made->text, kSource, now_ + 90s));
  told_.clear();
  registry_.tick(now_ + 89s);
  EXPECT_EQ(told_, "");
  registry_.tick(now_ + 90s);
  EXPECT_TRUE(registry_.tokens().empty());
  EXPECT_TRUE(registry_.peers().empty());
  EXPECT_EQ(told_, '-' + child->peer->name + " !" + made->token->id + ' ');
}

TEST_F(EmbeddedRegistryTest, AChildGetsNoMoreThanItsToken) {
  const auto token = make_token({.network = "staging", .apps = {"db", "web"}})->token;
  auto request = ephemeral();
  request.network = "default";
  request.rights = {Right::Connect, Right::Exec, Right::Peers};
  const auto child = enrol(*token, request);
  ASSERT_TRUE(child) << child.error().detail;
  EXPECT_EQ(registry_.addresses().name_of(child->peer->network), "staging");
  EXPECT_EQ(child->peer->apps, (std::vector<std::string>{"db", "web"}));
  EXPECT_EQ(child->peer->rights, Rights{Right::Connect});
  EXPECT_TRUE(child->peer->name.starts_with("interactive-"));
  EXPECT_TRUE(child->peer->may_reach("db"));
  EXPECT_FALSE(child->peer->may_reach("mail"));
  auto narrower = ephemeral();
  narrower.apps = {"db"};
  EXPECT_TRUE(enrol(*token, narrower));
  auto wider = ephemeral();
  wider.apps = {"db", "mail"};
  EXPECT_EQ(enrol(*token, wider).error().fault, Fault::NotAllowed);
  EXPECT_EQ(enrol(*token, named("static")).error().fault, Fault::NotAllowed);
  const auto maker = make_token({.rights = {Right::Connect, Right::Peers}})->token;
  EXPECT_TRUE(enrol(*maker, named("static")));
}

TEST_F(EmbeddedRegistryTest, ATokenHasSixtyFourLivingChildren) {
  const auto token = make_token({})->token;
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(enrol(*token, ephemeral()));
  EXPECT_EQ(enrol(*token, ephemeral()).error().fault, Fault::TooManyPeers);
  // All but the first have a session.
  now_ += 200s;
  for (const PeerPtr& peer : registry_.peers()) {
    if (peer->key != key_of(1)) registry_.remember(peer->key, {.last_handshake = now_});
  }
  EXPECT_TRUE(enrol(*token, ephemeral()));
  EXPECT_EQ(registry_.find_peer(key_of(1)), nullptr);
  EXPECT_EQ(registry_.peers().size(), 64U);
  EXPECT_EQ(enrol(*token, ephemeral()).error().fault, Fault::TooManyPeers);
}

TEST_F(EmbeddedRegistryTest, ASilentEphemeralPeerEndsAfterADay) {
  const auto token = make_token({})->token;
  const Key silent = enrol(*token, ephemeral())->peer->key;
  const Key lively = enrol(*token, ephemeral())->peer->key;
  const Key lasting = create(named("static"))->peer->key;
  registry_.remember(lively, {.last_handshake = now_ + 1h});
  registry_.tick(now_ + 24h);
  EXPECT_FALSE(registry_.find_peer(silent));
  EXPECT_TRUE(registry_.find_peer(lively));
  registry_.tick(now_ + 25h);
  EXPECT_FALSE(registry_.find_peer(lively));
  EXPECT_TRUE(registry_.find_peer(lasting));
}

TEST_F(EmbeddedRegistryTest, RemovingAPeerTakesItsTokenAndChildrenAlong) {
  auto request = named("laptop");
  request.with_token = true;
  request.rights = {Right::Connect, Right::Exec, Right::Peers};
  const auto laptop = create(request);
  ASSERT_TRUE(laptop);
  const auto token = registry_.authorize(laptop->token_text, kSource, now_);
  ASSERT_TRUE(token);
  EXPECT_EQ((*token)->rights, (Rights{Right::Connect, Right::Exec}));
  ASSERT_TRUE(enrol(**token, ephemeral()));
  ASSERT_TRUE(remove("Laptop"));
  EXPECT_TRUE(registry_.peers().empty());
  EXPECT_TRUE(registry_.tokens().empty());
  EXPECT_FALSE(registry_.authorize(laptop->token_text, kSource, now_));
  EXPECT_EQ(remove("laptop").error().fault, Fault::NoSuchPeer);
}

TEST_F(EmbeddedRegistryTest, RevokingATokenTakesItsChildrenAlong) {
  const auto token = make_token({})->token;
  ASSERT_TRUE(enrol(*token, ephemeral()));
  ASSERT_TRUE(create(named("static")));
  ASSERT_TRUE(revoke(token->id));
  EXPECT_EQ(registry_.peers().size(), 1U);
  EXPECT_FALSE(revoke(token->id));
  EXPECT_EQ(enrol(*token, ephemeral()).error().fault, Fault::NotAllowed);
}

TEST_F(EmbeddedRegistryTest, AResetKeepsNameAndAddressAndNothingElse) {
  auto request = named("laptop");
  request.with_token = true;
  const auto before = create(request);
  const auto token = registry_.authorize(before->token_text, kSource, now_);
  ASSERT_TRUE(enrol(**token, ephemeral()));
  registry_.remember(before->peer->key, {.last_handshake = now_});
  told_.clear();
  const auto after = reset("laptop", key_of(99));
  ASSERT_TRUE(after) << after.error().detail;
  EXPECT_EQ(after->peer->address, before->peer->address);
  EXPECT_EQ(after->peer->name, "laptop");
  EXPECT_EQ(registry_.find_peer(before->peer->key), nullptr);
  EXPECT_EQ(registry_.peers().size(), 1U);
  EXPECT_EQ(registry_.memory_of(key_of(99)), PeerMemory());
  EXPECT_FALSE(registry_.authorize(before->token_text, kSource, now_));
  EXPECT_TRUE(registry_.authorize(after->token_text, kSource, now_));
  EXPECT_NE(told_.find("-laptop"), std::string::npos);
  EXPECT_NE(told_.find("+laptop"), std::string::npos);
  EXPECT_EQ(reset("laptop", key_of(99)).error().fault, Fault::PeerExists);
}

TEST_F(EmbeddedRegistryTest, WhereNothingCanBeKeptKnownPeersStayAndNoneIsMade) {
  const auto made = create(named("laptop"));
  registry_.set_unwritable("the disk is full");
  EXPECT_EQ(fault_of(named("second")), Fault::Internal);
  EXPECT_FALSE(make_token({}));
  EXPECT_EQ(registry_.find_peer(made->peer->key), made->peer);
  registry_.set_unwritable("");
  EXPECT_EQ(fault_of(named("second")), Fault::None);
}

TEST_F(EmbeddedRegistryTest, TokensAreBounded) {
  EXPECT_FALSE(make_token({.rights = {}}));
  EXPECT_FALSE(make_token({.ttl = 0s}));
  EXPECT_FALSE(make_token({.ttl = std::chrono::seconds::max()}));
  EXPECT_FALSE(make_token({.network = "no network"}));
  EXPECT_FALSE(make_token({.apps = {""}}));
  EXPECT_EQ(make_token({.note = std::string(5000, 'x')})->token->note.size(), 200U);
}

// The whole registry twice: as it was, and as another process finds it.
TEST_F(EmbeddedRegistryTest, AllOfItIsThereAfterARestart) {
  const Folder folder;
  auto request = named("laptop");
  request.with_token = true;
  request.preshared = key_of(77);
  request.apps = {"db", "a:b"};
  const auto laptop = create(request);
  ASSERT_TRUE(create(named("gone")));
  ASSERT_TRUE(remove("gone"));
  const auto token = make_token({.note = "Anna's", .ttl = 24h})->token;
  ASSERT_TRUE(enrol(*token, ephemeral()));
  const PeerMemory memory{.endpoint = {*IpAddress::parse("2001:db8::7"), 51820},
                          .received = {1, 2, 3},
                          .sent = {4, 5, 6},
                          .last_handshake = now_};
  registry_.remember(laptop->peer->key, memory);
  auto& addresses = registry_.addresses();
  const auto machine = addresses.machine(laptop->peer->network, {"d891234a567890"});
  const auto flycast = addresses.flycast(laptop->peer->network, "db");
  registry_.flush();
  {
    auto archive = Archive::open(folder.file("state.db"));
    ASSERT_TRUE(archive) << archive.error().detail;
    const auto written = archive->write(kept_);
    ASSERT_TRUE(written) << written.error().detail;
  }
  auto archive = Archive::open(folder.file("state.db"));
  ASSERT_TRUE(archive);
  const auto rows = archive->load();
  ASSERT_TRUE(rows) << rows.error().detail;
  Rows more;
  EmbeddedRegistry again({}, counting_random(), [&more](Rows given) { more = std::move(given); });
  again.restore(*rows);
  ASSERT_EQ(again.peers().size(), 2U);
  for (const PeerPtr& peer : registry_.peers()) EXPECT_EQ(*again.find_peer(peer->key), *peer);
  ASSERT_EQ(again.tokens().size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(*again.tokens()[i], *registry_.tokens()[i]);
  EXPECT_EQ(again.memory_of(laptop->peer->key), memory);
  EXPECT_EQ(again.addresses().machine(laptop->peer->network, {"d891234a567890"}), machine);
  EXPECT_EQ(again.addresses().flycast(laptop->peer->network, "db"), flycast);
  EXPECT_TRUE(again.authorize(laptop->token_text, kSource, now_));
  again.flush();
  EXPECT_TRUE(more.empty());
}

}  // namespace
}  // namespace rooster::cluster
