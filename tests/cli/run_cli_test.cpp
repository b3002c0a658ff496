#include "cli/run_cli.hpp"

#include "tests/cli/fake_node.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace rooster::cli {
namespace {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

class RunCli : public ::testing::Test {
 protected:
  void SetUp() override { setenv("ROOSTER_ADMIN", node_.socket_path().c_str(), 1); }
  void TearDown() override { unsetenv("ROOSTER_ADMIN"); }

  Outcome run(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "rooster");
    std::ostringstream out;
    std::ostringstream err;
    const Commands commands{.serve = [this](const ServeOptions& options) {
      served_ = options;
      return 0;
    }};
    const int status = run_cli(static_cast<int>(arguments.size()), arguments.data(), commands,
                               {.out = out, .err = err, .has_colour = false});
    return {status, out.str(), err.str()};
  }

  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((node_.folder() / name).parent_path());
    std::ofstream(node_.folder() / name) << text;
  }

  FakeNode node_;
  ServeOptions served_;
};

TEST_F(RunCli, ServesWithTheFileItIsGiven) {
  EXPECT_EQ(run({"serve", "-c", "/tmp/x/../rooster.toml", "--log-format", "json"}).status, 0);
  EXPECT_EQ(served_.config_file, "/tmp/rooster.toml");
  EXPECT_EQ(served_.log_format, LogFormat::Json);
}

TEST_F(RunCli, SaysWhatWasMeantAndLeavesWith2) {
  const Outcome command = run({"srve"});
  EXPECT_EQ(command.status, 2);
  EXPECT_TRUE(
      command.err.starts_with("Error: unknown command \"srve\"; did you mean \"serve\"?\n"));
  EXPECT_TRUE(command.out.empty());
  EXPECT_TRUE(run({"status", "--jsn"})
                  .err.starts_with("Error: unknown flag \"--jsn\"; did you mean \"--json\"?"));
  EXPECT_EQ(run({}).status, 2);
  EXPECT_EQ(run({"machine"}).status, 2);
  EXPECT_EQ(run({"machine", "stop"}).status, 2);
  EXPECT_EQ(run({"explain"}).status, 2);
}

TEST_F(RunCli, HelpsOnStandardOutput) {
  const Outcome help = run({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* word : {"serve", "config", "reload", "status", "machine", "logs", "explain",
                           "checks", "completion"}) {
    EXPECT_NE(help.out.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(run({"--version"}).status, 0);
  EXPECT_TRUE(run({"version"}).out.starts_with("rooster "));
  EXPECT_TRUE(run({"version", "--json"}).out.starts_with(R"({"name":"rooster","version":")"));
}

TEST_F(RunCli, SaysHowToFindANodeThatDoesNotAnswer) {
  setenv("ROOSTER_ADMIN", "/nowhere/admin.sock", 1);
  const Outcome outcome = run({"status"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("/nowhere/admin.sock"), std::string::npos);
  EXPECT_NE(outcome.err.find("-c rooster.toml or $ROOSTER_ADMIN"), std::string::npos);
}

TEST_F(RunCli, FindsTheNodeByItsFile) {
  setenv("ROOSTER_ADMIN", "/nowhere/admin.sock", 1);
  write("rooster.toml",
        "apps = \"apps\"\n[listen]\nadmin = \"unix:" + node_.socket_path() + "\"\n");
  node_.answer("GET /v1/checks", R"({"checks":[]})");
  const Outcome outcome = run({"checks", "-c", (node_.folder() / "rooster.toml").c_str()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "No checks.\n");
}

TEST_F(RunCli, ListsMachinesUnderFlysHeaders) {
  node_.answer("GET /v1/machines",
               R"({"machines":[{"id":"908027d3be7938","app":"hello","process":"app",
    "region":"gru","state":"started","checks":"","ip":"127.0.0.1","image":"","in_flight":3}],"next":"hello"})");
  node_.answer("GET /v1/machines?after=hello",
               R"({"machines":[{"id":"148e21","app":"zulu","region":"iad",
    "state":"stopped","process":"app","in_flight":0,"cordoned":true}]})");
  const Outcome outcome = run({"machine", "list"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "ID              NAME   STATE    CHECKS  REGION  ROLE      IMAGE  IP ADDRESS  LAST "
            "UPDATED  PROCESS GROUP  IN FLIGHT\n"
            "908027d3be7938  hello  started          gru                      127.0.0.1            "
            "     app            3\n"
            "148e21          zulu   stopped          iad     cordoned                              "
            "     app            0\n");
  EXPECT_EQ(run({"machines", "list", "-q"}).out, "908027d3be7938\n148e21\n");
}

TEST_F(RunCli, OrdersMachinesAndReportsEach) {
  node_.answer("POST /v1/machines/a/start", R"({"ok":true})");
  node_.answer("POST /v1/machines/b/start", R"({"error":"it failed; look at its logs"})", 409);
  const Outcome outcome = run({"machine", "start", "a", "b"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "a has been started\n");
  EXPECT_EQ(outcome.err, "Error: b: it failed; look at its logs\n");
}

TEST_F(RunCli, StopsAllMachinesOfAnApp) {
  node_.answer("GET /v1/machines?app=hello", R"({"machines":[{"id":"a"},{"id":"b"}]})");
  node_.answer("POST /v1/machines/a/stop?signal=SIGTERM&timeout=7", R"({"ok":true})");
  node_.answer("POST /v1/machines/b/stop?signal=SIGTERM&timeout=7", R"({"ok":true})");
  const Outcome outcome =
      run({"machine", "stop", "-a", "hello", "-s", "SIGTERM", "--timeout", "7"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "a has been stopped\nb has been stopped\n");
}

TEST_F(RunCli, ShowsAnAppAsFlyctlDoes) {
  node_.answer("GET /v1/apps/hello",
               R"({"name":"hello","state":"ready","url":"https://hello.app.dev",
    "exposure":"public","driver":"process","waiting":0,"idle_timeout":"5m0s","hostnames":["example.com"],
    "last_wake":{"at":"2025-05-27T12:29:13.042Z","source":"203.0.113.7","reason":"GET /"},
    "machines":[{"process":"app","id":"908027d3be7938","version":1,"region":"gru","state":"started",
    "checks":"1 total, 1 passing","updated":"2025-05-27T12:29:13.042Z"}]})");
  const Outcome outcome = run({"status", "-a", "hello"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("  Name         = hello\n"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("PROCESS  ID              VERSION  REGION  STATE    ROLE  CHECKS      "
                             "        LAST UPDATED\n"
                             "app      908027d3be7938  1        gru     started        1 total, 1 "
                             "passing  2025-05-27T12:29:13.042Z\n"),
            std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("by 203.0.113.7: GET /"), std::string::npos);
}

TEST_F(RunCli, ShowsTheNodeAndItsApps) {
  node_.answer(
      "GET /v1/status",
      R"({"version":"0.1.0","region":"gru","domain":"app.dev","waiting":2,"listening":["https :443"]})");
  node_.answer(
      "GET /v1/apps",
      R"({"apps":[{"name":"hello","state":"waking","machines_started":1,"machines_total":2,"waiting":2}]})");
  const Outcome outcome = run({"status"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("hello  waking  1/2       2"), std::string::npos) << outcome.out;
  const Outcome json = run({"status", "--json"});
  EXPECT_TRUE(json.out.starts_with(R"({"version":"0.1.0")"));
  EXPECT_NE(json.out.find(R"("app_list":[{"name":"hello")"), std::string::npos);
}

TEST_F(RunCli, ExplainsAUrlOrAnApp) {
  const char* answer = R"({"verdict":"hello is asleep: idle for 5m0s.","fault":"-","findings":[
    {"subject":"last wake","text":"by \u001b[2J me"},{"subject":"held","text":"none"}]})";
  node_.answer("GET /v1/explain?app=hello", answer);
  node_.answer("GET /v1/explain?url=hello.app.dev%2Fx", answer);
  const Outcome outcome = run({"explain", "hello"});
  EXPECT_EQ(outcome.out,
            "hello is asleep: idle for 5m0s.\n\n  last wake  by ?[2J me\n  held       none\n");
  EXPECT_EQ(run({"explain", "hello.app.dev/x"}).status, 0);
}

TEST_F(RunCli, PrintsLogLinesAsTheyAre) {
  node_.answer("GET /v1/logs?app=hello&most=2",
               "2025-05-27T12:29:13Z app[908027d3be7938] gru [info]one\ntwo\n");
  const Outcome outcome = run({"logs", "-a", "hello", "--lines", "2"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "2025-05-27T12:29:13Z app[908027d3be7938] gru [info]one\ntwo\n");
  run({"logs", "-f", "-m", "x"});
  EXPECT_EQ(node_.requests().back(), "GET /v1/logs?machine=x&most=100&follow=1");
}

TEST_F(RunCli, ReloadsOrSaysWhyNot) {
  node_.answer("POST /v1/reload",
               R"({"ok":true,"apps":3,"changed":1,"needs_restart":["workers"],"diagnostics":[]})");
  const Outcome done = run({"reload"});
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(done.out, "Reloaded: 3 apps, 1 changed\nneeds a restart: workers\n");
  node_.answer("POST /v1/reload",
               R"({"ok":false,"apps":3,"changed":0,"needs_restart":[],"diagnostics":[
    {"severity":"error","text":"apps/a.toml:3:1: app: missing; write app = \"a\""}]})",
               422);
  const Outcome refused = run({"reload"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_TRUE(refused.err.starts_with("error: apps/a.toml:3:1: app: missing"));
}

TEST_F(RunCli, ChecksTheFilesWithoutANode) {
  setenv("ROOSTER_ADMIN", "/nowhere/admin.sock", 1);
  write("rooster.toml", "apps = \"apps\"\n");
  write("apps/hello.toml",
        "app = \"hello\"\n[http_service]\ninternal_port = 8000\n[rooster]\naddress = "
        "\"127.0.0.1\"\n");
  const std::string file = (node_.folder() / "rooster.toml").string();
  const Outcome good = run({"config", "check", "-c", file.c_str()});
  EXPECT_EQ(good.status, 0) << good.err;
  EXPECT_NE(good.out.find("Configuration is valid: 1 apps"), std::string::npos);
  EXPECT_TRUE(run({"config", "check", "--json", "-c", file.c_str()})
                  .out.starts_with(R"({"ok":true,"apps":1)"));

  const Outcome shown = run({"config", "show", "-a", "hello", "-c", file.c_str()});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_NE(shown.out.find("app = \"hello\""), std::string::npos) << shown.out;
  EXPECT_EQ(run({"config", "show", "-a", "nobody", "-c", file.c_str()}).status, 1);

  write("apps/hello.toml", "app = \"hello\"\n[http_service]\ninternal_port = \"x\"\n");
  const Outcome bad = run({"config", "check", "-c", file.c_str()});
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.err.find("hello.toml:3:"), std::string::npos) << bad.err;
}

TEST_F(RunCli, GeneratesCompletionFromItsOwnCommands) {
  const Outcome outcome = run({"completion", "bash"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_NE(outcome.out.find("'machine') words='list start stop suspend cordon uncordon"),
            std::string::npos)
      << outcome.out;
  EXPECT_EQ(run({"completion", "powershell"}).status, 2);
}

}  // namespace
}  // namespace rooster::cli
