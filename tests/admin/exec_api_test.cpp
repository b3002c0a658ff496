// Who may exec, and what the calls of the private API look like.
#include "admin/exec_api.hpp"

#include "admin/private_api.hpp"
#include "cluster/embedded_registry.hpp"
#include "tests/admin/facts.hpp"
#include "tests/admin/run_here.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include <fcntl.h>

namespace rooster::admin {
namespace {

using namespace testing;
using namespace std::chrono_literals;

constexpr const char* kExec = "/v1/apps/hello/machines/908027d3be7938/exec";

class LedgerNetwork final : public PrivateNetwork {
 public:
  explicit LedgerNetwork(Loop& loop) : loop_(loop) {}
  GatewayFacts facts() const override { return {}; }
  Loop& registry_loop() override { return loop_; }
  cluster::Registry& registry() override { return registry_; }
  Task<std::vector<PeerSession>> sessions(Waiter&) override {
    co_return std::vector<PeerSession>{};
  }
  Result<std::vector<cluster::AuditEntry>> audits(std::string_view, std::size_t) override {
    return ledger;
  }
  std::vector<cluster::AuditEntry> ledger;

 private:
  Loop& loop_;
  cluster::EmbeddedRegistry registry_{
      {}, cluster::kernel_random, [this](const cluster::Rows& rows) {
        for (const auto& row : rows) {
          if (const auto* entry = std::get_if<cluster::AuditEntry>(&row)) ledger.push_back(*entry);
        }
      }};
};

// hello, in the network that the test names.
class HelloNode final : public Node {
 public:
  Task<NodeStatus> status(Waiter&) override { co_return NodeStatus{}; }
  Task<std::vector<AppFacts>> apps(Waiter&, std::string, std::size_t) override {
    co_return std::vector<AppFacts>{};
  }
  Task<AppFacts> app(Waiter&, std::string name) override {
    if (name != "hello") co_return Error(Fault::NoRoute, "no app named " + name);
    FactsMaker maker;
    maker.config().rooster.user = user;
    AppFacts facts = maker.make();
    auto view = std::make_shared<machines::AppView>(*facts.view);
    view->network = network;
    view->machines.front().private_address = *IpAddress::parse("fdaa:0:1:0:2:3:4:2");
    facts.view = view;
    co_return facts;
  }
  Task<> command(Waiter&, MachineCommand) override { co_return Error(Fault::NoRoute); }
  Task<ConfigReport> reload(Waiter&) override { co_return ConfigReport{}; }
  Task<ConfigReport> check(Waiter&, bool) override { co_return ConfigReport{}; }
  std::vector<LogLine> logs(const LogQuery&) override { return {}; }
  std::shared_ptr<const config::ConfigSet> config() override { return set; }
  std::vector<std::string> metrics() override { return {}; }

  NetworkId network{};
  std::string user = "nobody";
  std::shared_ptr<config::ConfigSet> set = config_set({});
};

class LocalHost final : public ExecHost {
 public:
  explicit LocalHost(Loop& loop) : loop_(loop) {}
  Task<std::unique_ptr<ExecProcess>> start(ExecSpec spec, Notice notice, Waiter&) override {
    specs.push_back(spec);
    if (!failure.empty()) co_return Error(Fault::WakeTimeout, failure);
    if (!notice("waking " + spec.app)) co_return Error(Fault::ClientLeft);
    co_return std::make_unique<LocalProcess>(loop_, spec);
  }
  std::vector<ExecSpec> specs;
  std::string failure;

 private:
  Loop& loop_;
};

class ExecApiTest : public ::testing::Test {
 protected:
  struct Answer {
    int status = 0;
    std::string error;
    std::string body;
  };

  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    token_ = make_token({cluster::Right::Connect, cluster::Right::Exec}, {});
    peer_ = enrol(token_, 1);
    node_.network = peer_->network;
  }
  void TearDown() override {
    bool stopped = false;
    server_.stop([&stopped] { stopped = true; });
    for (int i = 0; i < 2000 && !stopped; ++i) loop_.run_for(5ms);
    EXPECT_TRUE(stopped);
    ::close(null_);
  }

  struct MadeToken {
    cluster::TokenPtr token;
    std::string text;
  };
  MadeToken make_token(cluster::Rights rights, std::vector<std::string> apps,
                       std::string network = "default") {
    MadeToken made;
    network_.registry().create_token(
        {.network = std::move(network), .apps = std::move(apps), .rights = rights},
        std::chrono::system_clock::now(), [&made](Result<cluster::CreatedToken> created) {
          ASSERT_TRUE(created) << created.error().detail;
          made = {created->token, created->text};
        });
    return made;
  }
  cluster::PeerPtr enrol(const MadeToken& token, std::uint8_t key) {
    cluster::PeerPtr peer;
    cluster::PeerRequest request;
    request.key.fill(key);
    request.ephemeral = true;
    request.network = std::string(network_.registry().addresses().name_of(token.token->network));
    network_.registry().enrol(*token.token, request, std::chrono::system_clock::now(),
                              [&peer](Result<cluster::CreatedPeer> made) {
                                ASSERT_TRUE(made) << made.error().detail;
                                peer = made->peer;
                              });
    return peer;
  }

  Answer call(const IpAddress& source, const std::string& token, std::string method = "POST",
              const std::string& path = kExec, net::Fields fields = {{"Host", "_api.internal"}},
              std::string body = R"({"command":["echo","hi"]})") {
    if (method == "POST") fields.emplace_back("Upgrade", "rooster-exec/1");
    if (!token.empty()) fields.emplace_back("Authorization", "Bearer " + token);
    net::HttpRequest request;
    request.method = std::move(method);
    request.target = path;
    request.fields = std::move(fields);
    request.body = std::move(body);
    request.source = source;
    std::optional<net::HttpReply> reply;
    TaskGroup group(loop_);
    group.spawn(ask(request, group, reply));
    for (int turns = 0; !reply && turns < 10'000; ++turns) loop_.run_for(1ms);
    EXPECT_TRUE(reply);
    if (!reply) return {};
    Answer answer{reply->status, {}, reply->body};
    if (!reply->body.empty()) {
      const auto json = boost::json::parse(reply->body);
      if (const auto* error = json.as_object().if_contains("error")) {
        answer.error = std::string(error->as_string());
      }
    }
    return answer;
  }
  Task<> ask(const net::HttpRequest& request, TaskGroup& group,
             std::optional<net::HttpReply>& reply) {
    Waiter waiter(group);
    auto made = co_await api_.handle(request, waiter);
    if (made) reply = std::move(*made);
    co_return {};
  }

  /// The whole of a call over a connection: all bytes until it closes.
  std::string converse(const std::string& body) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    const Descriptor client(ends[0]);
    server_.adopt(Descriptor(ends[1]), "", peer_->address);
    const std::string request =
        std::string("POST ") + kExec +
        " HTTP/1.1\r\nHost: _api.internal\r\nConnection: Upgrade\r\nUpgrade: rooster-exec/1\r\n"
        "Authorization: Bearer " +
        token_.text + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    EXPECT_EQ(::send(client.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    std::string all;
    std::array<char, 4096> block{};
    for (int i = 0; i < 10'000; ++i) {
      const ssize_t got = ::recv(client.get(), block.data(), block.size(), 0);
      if (got == 0) return all;
      if (got > 0) all.append(block.data(), static_cast<std::size_t>(got));
      if (got < 0) loop_.run_for(2ms);
    }
    ADD_FAILURE() << "no end";
    return all;
  }

  Loop loop_;
  int null_ = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  Log log_{{.descriptor = null_}};
  HelloNode node_;
  LedgerNetwork network_{loop_};
  LocalHost host_{loop_};
  ExecApi exec_{node_, host_, &network_, log_};
  PrivateApi api_{node_, exec_, network_};
  net::HttpServer server_{loop_, [this](const net::HttpRequest& request, Waiter& waiter) {
                            return api_.handle(request, waiter);
                          }};
  MadeToken token_;
  cluster::PeerPtr peer_;
};

TEST_F(ExecApiTest, RunsACommandForAPeerWithItsToken) {
  const std::string all = converse(R"({"command":["sh","-c","echo hi; exit 7"]})");
  EXPECT_TRUE(all.starts_with("HTTP/1.1 101 Switching Protocols\r\n")) << all;
  net::ExecFrameReader reader;
  reader.put(std::string_view(all).substr(all.find("\r\n\r\n") + 4));
  EXPECT_EQ(reader.next(), (net::ExecFrame{net::ExecKind::Notice, "waking hello"}));
  EXPECT_EQ(reader.next(), (net::ExecFrame{net::ExecKind::Stdout, "hi\n"}));
  const auto exit = reader.next();
  ASSERT_TRUE(exit);
  EXPECT_EQ(net::exec_exit_of(*exit), 7U);

  for (int i = 0; i < 1000 && network_.ledger.size() < 2; ++i) loop_.run_for(2ms);
  ASSERT_EQ(network_.ledger.size(), 2U) << "at its begin, and at its end under the same id";
  EXPECT_EQ(network_.ledger[0].id, network_.ledger[1].id);
  EXPECT_FALSE(network_.ledger[0].end);
  const cluster::AuditEntry& entry = network_.ledger[1];
  EXPECT_EQ(entry.token, token_.token->id);
  EXPECT_EQ(entry.peer, peer_->name);
  EXPECT_EQ(entry.app, "hello");
  EXPECT_EQ(entry.argv, (std::vector<std::string>{"sh", "-c", "echo hi; exit 7"}));
  EXPECT_EQ(entry.exit_status, 7);
  EXPECT_EQ(entry.bytes_out, 3U);
}

TEST_F(ExecApiTest, TellsWhyAWakeFailed) {
  host_.failure = "hello did not start: no such command";
  const std::string all = converse(R"({"command":["true"]})");
  net::ExecFrameReader reader;
  reader.put(std::string_view(all).substr(all.find("\r\n\r\n") + 4));
  EXPECT_EQ(reader.next(), (net::ExecFrame{net::ExecKind::Error, host_.failure}));
  EXPECT_TRUE(network_.ledger.empty());
}

TEST_F(ExecApiTest, NeedsThePeersOwnTokenWithTheRight) {
  EXPECT_EQ(call(peer_->address, token_.text).status, 101);
  EXPECT_EQ(call(peer_->address, "").status, 401);
  EXPECT_EQ(call(peer_->address, token_.text + "x").status, 401);
  const auto other = make_token({cluster::Right::Connect, cluster::Right::Exec}, {});
  EXPECT_EQ(call(peer_->address, other.text).error, "this token is not the one of your peer");
  const auto weak = make_token({cluster::Right::Connect}, {});
  EXPECT_TRUE(call(enrol(weak, 2)->address, weak.text).error.contains("does not allow exec"));
}

TEST_F(ExecApiTest, IsForPeersNotForMachinesOrStrangers) {
  const IpAddress machine = *IpAddress::parse("fdaa:0:1:0:2:3:4:2");
  const Answer answer = call(machine, token_.text);
  EXPECT_EQ(answer.status, 403);
  EXPECT_TRUE(answer.error.contains("machines may not")) << answer.error;
  // Another address of the peer's own /120 is the peer.
  auto bytes = peer_->address.bytes();
  bytes[15] = 0x77;
  EXPECT_EQ(call(IpAddress::from_bytes(bytes), token_.text).status, 101);
}

TEST_F(ExecApiTest, KnowsNoAppOfAnotherNetworkOrBeyondTheToken) {
  const auto narrow = make_token({cluster::Right::Connect, cluster::Right::Exec}, {"other"});
  const auto peer = enrol(narrow, 3);
  EXPECT_EQ(call(peer->address, narrow.text).status, 403);
  EXPECT_EQ(call(peer->address, "", "GET", "/v1/apps/hello").status, 404);
  const auto abroad = make_token({cluster::Right::Connect, cluster::Right::Exec}, {}, "elsewhere");
  const auto foreigner = enrol(abroad, 4);
  EXPECT_EQ(call(foreigner->address, abroad.text).status, 404);
  EXPECT_EQ(call(foreigner->address, "", "GET", "/v1/apps/hello").status, 404);
}

TEST_F(ExecApiTest, RefusesWebPages) {
  for (const net::Fields& fields :
       {net::Fields{{"Host", "_api.internal"}, {"Origin", "https://evil.example"}},
        net::Fields{{"Host", "evil.example:4280"}}, net::Fields{{"Host", ""}},
        net::Fields{{"Host", "[2001:db8::3]:4280"}}}) {
    EXPECT_EQ(call(peer_->address, token_.text, "POST", kExec, fields).status, 403)
        << fields.front().second;
    EXPECT_EQ(call(peer_->address, "", "GET", "/v1/apps/hello", fields).status, 403);
  }
  EXPECT_EQ(
      call(peer_->address, token_.text, "POST", kExec, {{"Host", "[fdaa:0:1::3]:4280"}}).status,
      101);
}

TEST_F(ExecApiTest, EntersAnAppOfRootsOnlyWhereTheNodeSaysSo) {
  node_.user = "root";
  EXPECT_TRUE(call(peer_->address, token_.text).error.contains("exec_as_root"));
  node_.set->node.reloadable.exec_as_root = true;
  EXPECT_EQ(call(peer_->address, token_.text).status, 101);
}

TEST_F(ExecApiTest, RunsAsTheMachinesUser) {
  const auto as = [this](const char* body) {
    return call(peer_->address, token_.text, "POST", kExec, {{"Host", "_api.internal"}}, body)
        .status;
  };
  EXPECT_EQ(as(R"({"command":["id"],"user":"nobody"})"), 101);
  EXPECT_EQ(as(R"({"command":["id"],"user":"root"})"), 403);
}

TEST_F(ExecApiTest, ListsTheMachinesOfAnAppThatThePeerMayReach) {
  const Answer answer = call(peer_->address, "", "GET", "/v1/apps/hello");
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.body.contains(R"("private_ip":"fdaa:0:1:0:2:3:4:2")")) << answer.body;
  EXPECT_EQ(call(peer_->address, "", "GET", "/v1/apps/nothing").status, 404);
  const Answer status = call(peer_->address, "", "GET", "/v1/status");
  EXPECT_EQ(status.status, 200);
  EXPECT_TRUE(status.body.contains(R"("started":")")) << status.body;
  EXPECT_FALSE(status.body.contains("config")) << "nothing of the node's own";
  EXPECT_EQ(call(*IpAddress::parse("fdaa:0:1:0:2:3:4:2"), "", "GET", "/v1/status").status, 403);
  EXPECT_EQ(call(peer_->address, token_.text, "GET", "/v1/config").status, 404);
  EXPECT_EQ(call(peer_->address, token_.text, "POST", "/v1/machines/x/stop").status, 404);
}

TEST(ExecPath, HasAnAppAndAMachine) {
  const auto path = ExecPath::parse("/v1/apps/a%20b/machines/m/exec");
  ASSERT_TRUE(path);
  EXPECT_EQ(path->app, "a b");
  EXPECT_EQ(path->machine, "m");
  for (const char* wrong :
       {"/v1/apps/a/machines//exec", "/v1/apps//machines/m/exec", "/v1/apps/a",
        "/v1/apps/a/machines/m", "/v1/machines/m/exec", "/v1/apps/a/machines/m/n/exec"}) {
    EXPECT_FALSE(ExecPath::parse(wrong)) << wrong;
  }
}

TEST(ParseExec, ReadsWhatToRun) {
  const ExecPath path{"hello", "m"};
  const auto spec = parse_exec(
      path, R"({"command":["ls","-l"],"pty":true,"rows":50,"columns":200,"term":"xterm"})");
  ASSERT_TRUE(spec) << spec.error().detail;
  EXPECT_EQ(spec->argv, (std::vector<std::string>{"ls", "-l"}));
  EXPECT_TRUE(spec->has_terminal);
  EXPECT_EQ(spec->rows, 50);
  EXPECT_EQ(spec->columns, 200);
  EXPECT_EQ(parse_exec(path, "{}")->argv.front(), "/bin/sh") << "a shell where none is named";
  EXPECT_EQ(parse_exec(path, R"({"rows":-1,"columns":99999})")->rows, 24);
  for (const char* wrong : {"", "[]", R"({"command":"ls"})", R"({"command":[1]})",
                            R"({"command":[""]})", R"({"command":["a\u0000b"]})"}) {
    EXPECT_FALSE(parse_exec(path, wrong)) << wrong;
  }
}

}  // namespace
}  // namespace rooster::admin
