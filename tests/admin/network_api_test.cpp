// Peers and tokens as the admin socket and as rooster.<domain> answer them.
#include "admin/network_api.hpp"

#include "admin/enrolment.hpp"
#include "cluster/embedded_registry.hpp"
#include "core/base64.hpp"
#include "tests/admin/facts.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include <fcntl.h>

namespace rooster::admin {
namespace {

using namespace testing;
using namespace std::chrono_literals;
using boost::json::value;

constexpr const char* kKeyA = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
constexpr const char* kKeyB = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

class TestNetwork final : public PrivateNetwork {
 public:
  explicit TestNetwork(Loop& loop) : loop_(loop) {}
  GatewayFacts facts() const override {
    GatewayFacts facts;
    facts.public_key.fill(3);
    facts.endpoint = "rooster.app.dev:51820";
    facts.login_url = "https://rooster.app.dev";
    facts.pin = "PIN";
    facts.region = "gru";
    return facts;
  }
  Loop& registry_loop() override { return loop_; }
  cluster::Registry& registry() override { return registry_; }
  Task<std::vector<PeerSession>> sessions(Waiter&) override { co_return sessions_; }
  Result<std::vector<cluster::AuditEntry>> audits(std::string_view app, std::size_t) override {
    return std::vector<cluster::AuditEntry>{{.id = 1,
                                             .token = "t",
                                             .peer = "laptop",
                                             .app = std::string(app),
                                             .machine = "m",
                                             .argv = {"ls", "-l"},
                                             .exit_status = 3}};
  }
  // A while later, as the hub takes one.
  void when_routed(std::move_only_function<void()> done) override {
    loop_.post([this, done = std::move(done)]() mutable {
      ++routed_;
      done();
    });
  }
  std::vector<PeerSession> sessions_;
  int routed_ = 0;

 private:
  Loop& loop_;
  cluster::EmbeddedRegistry registry_{{}, cluster::kernel_random, [](const cluster::Rows&) {}};
};

// No app but hello, which has addresses.
class OneAppNode final : public Node {
 public:
  Task<NodeStatus> status(Waiter&) override { co_return NodeStatus{}; }
  Task<std::vector<AppFacts>> apps(Waiter&, std::string, std::size_t) override {
    co_return std::vector<AppFacts>{};
  }
  Task<AppFacts> app(Waiter&, std::string name) override {
    if (name != "hello") co_return Error(Fault::NoRoute, "no app named " + name);
    AppFacts facts = FactsMaker().make();
    auto view = std::make_shared<machines::AppView>(*facts.view);
    view->flycast = *IpAddress::parse("fdaa:0:1:0:1::2");
    view->machines.front().private_address = *IpAddress::parse("fdaa:0:1:0:2:3:4:2");
    facts.view = view;
    co_return facts;
  }
  Task<> command(Waiter&, MachineCommand) override { co_return Error(Fault::NoRoute); }
  Task<ConfigReport> reload(Waiter&) override { co_return ConfigReport{}; }
  Task<ConfigReport> check(Waiter&, bool) override { co_return ConfigReport{}; }
  std::vector<LogLine> logs(const LogQuery&) override { return {}; }
  std::shared_ptr<const config::ConfigSet> config() override { return config_set({}); }
  std::vector<std::string> metrics() override { return {}; }
};

struct Answered {
  int status = 0;
  value body;
};

class NetworkApiTest : public ::testing::Test {
 protected:
  template <class Server>
  Answered ask(Server& server, net::HttpRequest request) {
    std::optional<net::HttpReply> reply;
    TaskGroup group(loop_);
    group.spawn(run(server, std::move(request), group, reply));
    bool is_over = false;
    group.when_empty([&is_over] { is_over = true; });
    for (int turns = 0; !is_over && turns < 10'000; ++turns) loop_.run_for(1ms);
    EXPECT_TRUE(reply);
    if (!reply) return {};
    return {reply->status, boost::json::parse(reply->body)};
  }
  template <class Server>
  static Task<> run(Server& server, net::HttpRequest request, TaskGroup& group,
                    std::optional<net::HttpReply>& out) {
    Waiter waiter(group);
    auto reply = co_await server.handle(request, waiter);
    if (reply) out = std::move(*reply);
    co_return {};
  }
  Answered operate(std::string method, std::string target, std::string body = {}) {
    net::HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    return ask(api_, std::move(request));
  }
  Answered call(std::string method, std::string target, const std::string& token,
                std::string body = {}, net::Fields more = {}) {
    net::HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    request.fields = std::move(more);
    if (!token.empty()) request.fields.emplace_back("Authorization", "Bearer " + token);
    request.source = *IpAddress::parse("192.0.2.7");
    return ask(enrolment_, std::move(request));
  }
  std::string make_token(const std::string& body) {
    const Answered made = operate("POST", "/v1/tokens", body);
    EXPECT_EQ(made.status, 200) << boost::json::serialize(made.body);
    return std::string(made.body.at("token_text").as_string());
  }
  static std::string text(const value& object, std::string_view key) {
    return std::string(object.at(key).as_string());
  }

  Loop loop_;
  int null_ = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  Log log_{{.descriptor = null_}};
  OneAppNode node_;
  TestNetwork network_{loop_};
  NetworkApi api_{node_, &network_};
  Enrolment enrolment_{network_, log_};
};

TEST_F(NetworkApiTest, ATokensTextIsToldOnceAsALogin) {
  const Answered made = operate("POST", "/v1/tokens",
                                R"({"apps":["db"],"rights":"connect,exec","note":"Anna",)"
                                R"("ttl_seconds":3600})");
  ASSERT_EQ(made.status, 200) << boost::json::serialize(made.body);
  EXPECT_EQ(text(made.body, "login"),
            "https://rooster.app.dev#" + text(made.body, "token_text") + ".PIN");
  EXPECT_EQ(text(made.body.at("token"), "rights"), "connect,exec");
  EXPECT_FALSE(text(made.body.at("token"), "expires").empty());
  const Answered list = operate("GET", "/v1/tokens");
  ASSERT_EQ(list.body.at("tokens").as_array().size(), 1U);
  EXPECT_EQ(boost::json::serialize(list.body).find(text(made.body, "token_text").substr(11)),
            std::string::npos);
  const std::string id = text(made.body.at("token"), "id");
  EXPECT_EQ(operate("POST", "/v1/tokens/" + id + "/revoke").status, 200);
  EXPECT_EQ(operate("POST", "/v1/tokens/" + id + "/revoke").status, 400);
  EXPECT_TRUE(operate("GET", "/v1/tokens").body.at("tokens").as_array().empty());
}

TEST_F(NetworkApiTest, APeerIsToldAllItNeeds) {
  const Answered made =
      operate("POST", "/v1/peers",
              std::string(R"({"public_key":")") + kKeyA + R"(","name":"laptop","region":"gru"})");
  ASSERT_EQ(made.status, 200) << boost::json::serialize(made.body);
  const value& peer = made.body.at("peer");
  const std::string address = text(peer, "address");
  EXPECT_EQ(text(peer, "prefix"), address + "/120");
  EXPECT_TRUE(text(peer, "network_prefix").ends_with("::/48"));
  EXPECT_TRUE(text(peer, "dns").ends_with("::3"));
  EXPECT_EQ(text(peer, "endpoint"), "rooster.app.dev:51820");
  EXPECT_EQ(text(peer, "gateway_public_key"), to_base64(network_.facts().public_key));
  EXPECT_EQ(peer.as_object().if_contains("token_text"), nullptr);
  const Answered twice = operate(
      "POST", "/v1/peers", std::string(R"({"public_key":")") + kKeyB + R"(","name":"LAPTOP"})");
  EXPECT_EQ(twice.status, 409);
  EXPECT_EQ(text(twice.body, "fault"), "peer_exists");
  EXPECT_EQ(operate("GET", "/v1/peers?network=DEFAULT").body.at("peers").as_array().size(), 1U);
  EXPECT_EQ(operate("GET", "/v1/peers?network=other").body.at("peers").as_array().size(), 0U);
  const Answered reset = operate("POST", "/v1/peers/laptop/reset",
                                 std::string(R"({"public_key":")") + kKeyB + R"("})");
  ASSERT_EQ(reset.status, 200) << boost::json::serialize(reset.body);
  EXPECT_EQ(text(reset.body.at("peer"), "address"), address);
  EXPECT_EQ(operate("POST", "/v1/peers/laptop/remove?network=default").status, 200);
  EXPECT_EQ(operate("POST", "/v1/peers/laptop/remove").status, 404);
}

TEST_F(NetworkApiTest, WhatIsWrongInABodyIsNamed) {
  for (const auto& [body, expected] : std::vector<std::pair<std::string, std::string>>{
           {"", "body: must be a JSON object"},
           {"[]", "body: must be a JSON object"},
           {R"({"name":"x"})", "public_key: is missing"},
           {R"({"public_key":"AQ=="})", "public_key: must be 32 bytes"},
           {R"({"public_key":1})", "public_key: must be text"},
           {R"({"apps":"db"})", "apps: must be a list"},
           {R"({"ephemeral":"yes"})", "ephemeral: must be true or false"},
           {R"({"rights":"all"})", "rights: write connect"},
           {R"({"ttl_seconds":-1})", "ttl_seconds: must be seconds"},
           {R"({"ttl_seconds":1e300})", "ttl_seconds: must be seconds"}}) {
    const Answered answered = operate("POST", "/v1/peers", body);
    EXPECT_EQ(answered.status, 400) << body;
    EXPECT_TRUE(text(answered.body, "error").starts_with(expected))
        << boost::json::serialize(answered.body);
  }
}

TEST_F(NetworkApiTest, TheStatusJoinsPeersAndSessions) {
  operate("POST", "/v1/peers", std::string(R"({"public_key":")") + kKeyA + R"(","name":"laptop"})");
  operate("POST", "/v1/peers", std::string(R"({"public_key":")") + kKeyB + R"(","name":"quiet"})");
  PeerSession session;
  session.key.fill(1);
  session.endpoint = {*IpAddress::parse("203.0.113.5"), 4500};
  session.last_handshake = std::chrono::system_clock::now() - 30s;
  session.received_bytes = 10;
  session.alternates = true;
  network_.sessions_ = {session};
  const Answered status = operate("GET", "/v1/wireguard");
  ASSERT_EQ(status.status, 200);
  const auto& peers = status.body.at("peers").as_array();
  ASSERT_EQ(peers.size(), 2U);
  EXPECT_EQ(text(peers[0], "endpoint"), "203.0.113.5:4500");
  EXPECT_GE(peers[0].at("handshake_age_seconds").to_number<int>(), 30);
  EXPECT_TRUE(peers[0].at("alternates").as_bool());
  EXPECT_EQ(peers[1].as_object().if_contains("endpoint"), nullptr);
}

TEST_F(NetworkApiTest, IpsArePrivateIngressAndMachines) {
  const Answered ips = operate("GET", "/v1/ips?app=hello");
  ASSERT_EQ(ips.status, 200) << boost::json::serialize(ips.body);
  EXPECT_EQ(text(ips.body.at("ips").as_array().at(0), "ip"), "fdaa:0:1:0:1::2");
  EXPECT_EQ(text(ips.body.at("machines").as_array().at(0), "ip"), "fdaa:0:1:0:2:3:4:2");
  EXPECT_EQ(operate("GET", "/v1/ips?app=none").status, 404);
  const Answered audit = operate("GET", "/v1/audit?app=hello");
  EXPECT_EQ(audit.body.at("audit").as_array().at(0).at("argv").as_array().size(), 2U);
}

TEST_F(NetworkApiTest, WithoutAPrivateNetworkItIsSaidSo) {
  NetworkApi none(node_, nullptr);
  net::HttpRequest request;
  request.target = "/v1/peers";
  const Answered answered = ask(none, request);
  EXPECT_EQ(answered.status, 404);
  EXPECT_NE(text(answered.body, "error").find("[wireguard]"), std::string::npos);
}

TEST_F(NetworkApiTest, NothingIsToldWithoutAToken) {
  const std::string body = std::string(R"({"public_key":")") + kKeyA + R"(","ephemeral":true})";
  EXPECT_EQ(call("POST", "/v1/peers", "", body).status, 401);
  EXPECT_EQ(call("GET", "/v1/peers", "").status, 401);
  EXPECT_EQ(call("GET", "/v1/status", "").status, 404);
  EXPECT_EQ(call("GET", "/", "").status, 404);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(call("GET", "/v1/login", "wrong").status, 401);
  EXPECT_EQ(call("GET", "/v1/login", "wrong").status, 429);
}

TEST_F(NetworkApiTest, ATokenEnrolsAnEphemeralPeer) {
  const std::string token = make_token(R"({"network":"staging","apps":["db"]})");
  const Answered login = call("GET", "/v1/login", token);
  ASSERT_EQ(login.status, 200);
  EXPECT_EQ(text(login.body.at("token"), "network"), "staging");
  const std::string body = std::string(R"({"public_key":")") + kKeyA + R"(","ephemeral":true})";
  const Answered made = call("POST", "/v1/peers", token, body);
  ASSERT_EQ(made.status, 200) << boost::json::serialize(made.body);
  EXPECT_EQ(network_.routed_, 1);  // no answer before the hub knows the way to it
  EXPECT_TRUE(text(made.body.at("peer"), "name").starts_with("interactive-"));
  EXPECT_EQ(text(made.body.at("peer"), "network"), "staging");
  // A static one needs the right to.
  const std::string fixed = std::string(R"({"public_key":")") + kKeyB + R"(","name":"box"})";
  EXPECT_EQ(call("POST", "/v1/peers", token, fixed).status, 403);
  EXPECT_EQ(call("POST", "/v1/peers/box/remove", token).status, 403);
  EXPECT_EQ(call("POST", "/v1/peers", token, body, {{"Origin", "https://evil"}}).status, 403);
}

TEST_F(NetworkApiTest, ATokenForPeersSeesItsOwnOnly) {
  operate("POST", "/v1/peers",
          std::string(R"({"public_key":")") + kKeyA + R"(","name":"operators"})");
  const std::string token = make_token(R"({"rights":"connect,peers"})");
  const std::string fixed = std::string(R"({"public_key":")") + kKeyB + R"(","name":"box"})";
  ASSERT_EQ(call("POST", "/v1/peers", token, fixed).status, 200);
  const auto list = call("GET", "/v1/peers", token).body.at("peers").as_array();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(text(list[0], "name"), "box");
  EXPECT_EQ(call("POST", "/v1/peers/operators/remove", token).status, 404);
  EXPECT_EQ(call("POST", "/v1/peers/BOX/remove", token).status, 200);
  EXPECT_EQ(operate("GET", "/v1/peers").body.at("peers").as_array().size(), 1U);
}

}  // namespace
}  // namespace rooster::admin
