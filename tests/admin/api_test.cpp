#include "admin/api.hpp"

#include "admin/log_tail.hpp"
#include "net/connect_call.hpp"
#include "net/http_client.hpp"
#include "net/unix_address.hpp"
#include "tests/admin/facts.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <functional>
#include <future>
#include <latch>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

namespace rooster::admin {
namespace {

using namespace testing;
using machines::WakePhase;

class TestNode : public Node {
 public:
  Task<NodeStatus> status(Waiter&) override {
    NodeStatus status;
    status.region = "gru";
    status.draining = is_draining;
    status.listening = {"https :8443"};
    co_return status;
  }
  Task<std::vector<AppFacts>> apps(Waiter&, std::string after, std::size_t most) override {
    std::vector<AppFacts> found;
    for (const AppFacts& facts : all) {
      if (facts.view->config->name > after && found.size() < most) found.push_back(facts);
    }
    co_return found;
  }
  Task<AppFacts> app(Waiter&, std::string name) override {
    for (const AppFacts& facts : all) {
      if (facts.view->config->name == name) co_return facts;
    }
    co_return Error(Fault::NoRoute, "no app named " + name);
  }
  Task<> command(Waiter&, MachineCommand command) override {
    commands.push_back(command);
    if (command.machine == "busy") co_return Error(Fault::Internal, "it is being replaced");
    co_return Result<>();
  }
  Task<ConfigReport> reload(Waiter&) override { co_return report; }
  Task<ConfigReport> check(Waiter&, bool strict) override {
    ConfigReport checked = report;
    checked.changed = strict ? 1 : 0;
    co_return checked;
  }
  std::vector<LogLine> logs(const LogQuery& query) override { return tail.find(query); }
  std::shared_ptr<const config::ConfigSet> config() override { return set; }
  std::vector<std::string> metrics() override { return {"a 1\n", "b 2\n"}; }

  std::vector<AppFacts> all;
  std::shared_ptr<config::ConfigSet> set = config_set({hello_config()});
  std::vector<MachineCommand> commands;
  ConfigReport report{.ok = true, .diagnostics = {}, .apps = 1, .changed = 0, .needs_restart = {}};
  LogTail tail;
  bool is_draining = false;
};

// The API behind its real server, asked by the command line's client.
class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    node_.all = {FactsMaker().phase(WakePhase::Ready).in_flight(2).make()};
    std::string pattern = (std::filesystem::temp_directory_path() / "rooster-api-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    auto listener = net::listen_unix(socket(), 0600);
    ASSERT_TRUE(listener) << listener.error().detail;
    server_.emplace(loop_, std::move(*listener),
                    [this](const net::HttpRequest& request, Waiter& waiter) {
                      return api_.handle(request, waiter);
                    });
    thread_ = std::thread([this] { loop_.run(); });
  }
  void TearDown() override {
    loop_.post([this] { server_->stop([this] { loop_.stop(); }); });
    thread_.join();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string socket() const { return (folder_ / "admin.sock").string(); }
  net::HttpResponse ask(std::string method, std::string target) {
    net::HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    const auto response = net::HttpClient({socket(), "", 0}, 10s).send(request);
    EXPECT_TRUE(response) << response.error().detail;
    return response ? *response : net::HttpResponse{};
  }
  // The node belongs to the loop's thread: while that runs, a test reads and changes it there.
  void on_loop(const std::function<void()>& work) {
    std::promise<void> done;
    loop_.post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  boost::json::value json(std::string target, int status = 200) {
    const auto response = ask("GET", std::move(target));
    EXPECT_EQ(response.status, status) << response.body;
    return boost::json::parse(response.body);
  }

  TestNode node_;
  Api api_{node_};
  Loop loop_;
  std::filesystem::path folder_;
  std::optional<net::HttpServer> server_;
  std::thread thread_;
};

TEST_F(ApiTest, TellsItsHealth) {
  EXPECT_EQ(ask("GET", "/healthz").status, 200);
  on_loop([this] { node_.is_draining = true; });
  EXPECT_EQ(ask("GET", "/healthz").status, 503);
}

TEST_F(ApiTest, ServesTheMetricsPageInPieces) {
  const auto response = ask("GET", "/metrics");
  EXPECT_EQ(response.body, "a 1\nb 2\n");
  EXPECT_TRUE(response.field("content-type").starts_with("text/plain; version=0.0.4"));
}

TEST_F(ApiTest, ListsAppsAPageAtATime) {
  const auto page = json("/v1/apps?most=1");
  const auto& app = page.at("apps").at(0);
  EXPECT_EQ(app.at("name"), "hello");
  EXPECT_EQ(app.at("state"), "ready");
  EXPECT_EQ(app.at("url"), "https://hello.app.dev:8443");
  EXPECT_EQ(app.at("exposure"), "public");
  EXPECT_EQ(page.at("next"), "hello");
  EXPECT_TRUE(json("/v1/apps?after=hello").at("apps").as_array().empty());
}

TEST_F(ApiTest, TellsAllOfOneApp) {
  const auto app = json("/v1/apps/hello");
  EXPECT_EQ(app.at("machines").at(0).at("id"), "908027d3be7938");
  EXPECT_EQ(app.at("machines").at(0).at("in_flight"), 2);
  EXPECT_EQ(app.at("machines").at(0).at("state"), "started");
  EXPECT_EQ(app.at("services").at(0).at("internal_port"), 8000);
  EXPECT_EQ(app.at("idle_timeout"), "5m0s");
  EXPECT_EQ(json("/v1/apps/nobody", 404).at("error"), "no app named nobody");
}

TEST_F(ApiTest, ListsMachinesAndChecks) {
  EXPECT_EQ(json("/v1/machines").at("machines").as_array().size(), 1U);
  EXPECT_EQ(json("/v1/machines?app=nobody", 404).at("error"), "no app named nobody");
  const auto checks = json("/v1/checks?app=hello");
  EXPECT_EQ(checks.at("checks").at(0).at("status"), "passing");
}

TEST_F(ApiTest, GivesOrdersToMachines) {
  EXPECT_EQ(ask("POST", "/v1/machines/abc/stop?signal=SIGTERM&timeout=9").status, 200);
  std::vector<MachineCommand> given;
  on_loop([&] { given = node_.commands; });
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].order, MachineOrder::Stop);
  EXPECT_EQ(given[0].machine, "abc");
  EXPECT_EQ(given[0].signal, "SIGTERM");
  EXPECT_EQ(given[0].timeout, 9s);
  const auto refused = ask("POST", "/v1/machines/busy/start");
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.body, R"({"error":"it is being replaced"})");
  EXPECT_EQ(ask("POST", "/v1/machines/abc/destroy").status, 404);
  EXPECT_EQ(ask("GET", "/v1/machines/abc/stop").status, 404) << "a GET changes nothing";
}

TEST_F(ApiTest, ReloadsAndReportsWhatIsWrong) {
  EXPECT_EQ(ask("POST", "/v1/reload").status, 200);
  on_loop([this] {
    node_.report.ok = false;
    node_.report.diagnostics = {{.severity = config::Severity::Error,
                                 .file = "a.toml",
                                 .place = {3, 7},
                                 .key = "app",
                                 .message = "missing; write it",
                                 .source = ""}};
  });
  const auto refused = ask("POST", "/v1/reload");
  EXPECT_EQ(refused.status, 422);
  EXPECT_TRUE(has(refused.body, R"("line":3,"column":7,"key":"app")"));
  EXPECT_EQ(ask("GET", "/v1/reload").status, 404);
  EXPECT_TRUE(has(ask("POST", "/v1/config/check?strict=1").body, R"("changed":1)"));
}

TEST_F(ApiTest, ExplainsUrlsAndApps) {
  EXPECT_EQ(json("/v1/explain?url=https%3A%2F%2Fhello.app.dev%2F").at("verdict"),
            "Goes to machine 908027d3be7938.");
  EXPECT_EQ(json("/v1/explain?url=nobody.dev").at("fault"), "no_route");
  EXPECT_EQ(json("/v1/explain?app=hello").at("verdict"), "hello is awake, 2 in flight.");
  EXPECT_EQ(ask("GET", "/v1/explain").status, 400);
  EXPECT_EQ(ask("GET", "/v1/explain?url=ftp://x").status, 400);
}

TEST_F(ApiTest, GivesLogsInFlysFormatOrAsJson) {
  LogLine line;
  line.at = WallTime(1'748'348'953s);
  line.app = "hello";
  line.machine = "m";
  line.region = "gru";
  line.message = "hi";
  on_loop([&] { node_.tail.add(line); });
  EXPECT_EQ(ask("GET", "/v1/logs?app=hello").body, "2025-05-27T12:29:13Z app[m] gru [info]hi\n");
  EXPECT_TRUE(has(ask("GET", "/v1/logs?format=json").body,
                  R"("provider":"app","app":"hello","instance":"m")"));
  EXPECT_EQ(ask("GET", "/v1/logs?app=other").body, "");
}

TEST_F(ApiTest, FollowsTheLog) {
  LogLine line;
  line.app = "hello";
  line.message = "first";
  on_loop([&] { node_.tail.add(line); });
  net::HttpRequest request;
  request.target = "/v1/logs?follow=1";
  std::vector<std::string> lines;
  const auto done =
      net::HttpClient({socket(), "", 0}, 10s).stream(request, [&](std::string_view text) {
        lines.emplace_back(text);
        if (lines.size() == 1) {
          loop_.post([this, line]() mutable {
            line.message = "second";
            node_.tail.add(line);
          });
        }
        return lines.size() < 2;
      });
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[0].ends_with("first"));
  EXPECT_TRUE(lines[1].ends_with("second"));
}

TEST_F(ApiTest, ShowsTheEffectiveConfiguration) {
  EXPECT_TRUE(has(ask("GET", "/v1/config?app=hello").body, "hello"));
  EXPECT_TRUE(has(ask("GET", "/v1/config").body, "app.dev"));
  EXPECT_EQ(ask("GET", "/v1/config?app=nobody").status, 404);
}

TEST_F(ApiTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(ask("GET", "/v2/anything").status, 404);
  EXPECT_EQ(ask("DELETE", "/v1/apps/hello").status, 405);
  EXPECT_EQ(json("/v1/version").at("name"), "rooster");
  EXPECT_EQ(json("/v1/status").at("listening").at(0), "https :8443");
}

TEST_F(ApiTest, GivesAConnectAwayAsItCame) {
  std::promise<std::pair<Descriptor, std::string>> given;
  api_.set_connect([&given](Descriptor connection, std::string input) {
    given.set_value({std::move(connection), std::move(input)});
  });
  const auto address = net::UnixAddress::of(socket());
  const Descriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), address->get(), address->size()), 0);
  const std::string call = net::encode_connect({{"db.internal", 5432}, true, ""}) + "first";
  ASSERT_EQ(::send(client.get(), call.data(), call.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(call.size()));
  auto future = given.get_future();
  ASSERT_EQ(future.wait_for(20s), std::future_status::ready);
  auto [connection, input] = future.get();
  EXPECT_EQ(input, call);
  ASSERT_EQ(::send(connection.get(), "raw", 3, MSG_NOSIGNAL), 3);
  std::array<char, 10> block{};
  EXPECT_EQ(::recv(client.get(), block.data(), block.size(), 0), 3) << "still open";
}

}  // namespace
}  // namespace rooster::admin
