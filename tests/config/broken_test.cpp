// Broken files: each error has its exact place, its key and its mend; hostile files are refused
// quickly.
#include "config/document.hpp"
#include "tests/config/shared.hpp"

#include <chrono>

namespace rooster::config {
namespace {

struct Broken {
  const char* text;
  const char* expected;  ///< the rendered error after the file's name
};

// The table of docs/guarantees.md: what a broken app looks like to its operator.
const Broken kBroken[] = {
    {"app = hello\n",
     ":1:7: could not determine value type (value); text stands in quotes: key = \"value\""},
    {"app = \"hello\n[env]\n",
     ":1:7: this text has no end; write \" after it\n  app = \"hello\n        ^"},
    {"app = 'x'\napp = 'y'\n",
     ":2:7: cannot redefine existing string 'app' (key-value pair); keep one of the two"},
    {"[http_service\ninternal_port = 1\n",
     ":1:14: expected ']', saw '\\n' (table header); close it with ]"},
    {"app = 7\n",
     ":1:7: app: a whole number is not accepted here; write text in quotes\n  app = 7\n        ^"},
    {"kill_signal = 'SIGTRM'\n",
     ":1:15: kill_signal: \"SIGTRM\" is not a signal for this; write SIGTERM"},
    {"kill_timeout = 'soon'\n", ":1:16: kill_timeout: not a duration; write one such as"},
    {"primary_region = 'São Paulo'\n", ":1:18: primary_region: \"São Paulo\" is not a region"},
    {"[http_service]\ninternal_port = 70000\n",
     ":2:17: http_service.internal_port: 70000 is out of range; write a whole number from 0 to "
     "65535\n"
     "  internal_port = 70000\n                  ^"},
    {"[http_service]\ninternal_port = '80a'\n",
     ":2:17: http_service.internal_port: \"80a\" is not a number"},
    {"[http_service]\n\tforce_https = 'yes'\n",
     ":2:16: http_service.force_https: text is not accepted here; write true or false, without "
     "quotes\n"
     "  \tforce_https = 'yes'\n  \t              ^"},
    {"[http_service]\nauto_stop_machines = 'on'\n",
     ":2:22: http_service.auto_stop_machines: text is not accepted here; write \"off\", \"stop\" "
     "or \"suspend\""},
    {"[http_service]\nmin_machines_running = -1\n",
     ":2:24: http_service.min_machines_running: -1 is out of range"},
    {"[http_service]\nconcurrency = { type = 'users' }\n",
     ":2:24: http_service.concurrency.type: \"users\" can't be counted; write \"requests\" or "
     "\"connections\""},
    {"[http_service]\nprocesses = ['web']\n",
     ":2:14: http_service.processes[0]: no process group \"web\"; write \"app\" or add it to "
     "[processes]"},
    {"[[http_service]]\ninternal_port = 1\n",
     ":1:1: http_service: a list is not accepted here; write a table: [http_service]"},
    {"[[services]]\nprotocol = 'http'\n",
     ":2:12: services[0].protocol: \"http\" is no protocol here; write \"tcp\" or \"udp\""},
    {"[[services]]\n[[services.ports]]\nport = 443\nhandlers = ['tls', 'https']\n",
     ":4:20: services[0].ports[0].handlers[1]: \"https\" is no handler; write handlers = [\"tls\", "
     "\"http\"]"},
    {"[[services]]\n[[services.ports]]\nhandlers = []\n",
     ":2:1: services[0].ports[0]: no port; write port = 443"},
    {"[[services]]\n[[services.ports]]\nport = 0\n",
     ":3:8: services[0].ports[0].port: 0 is out of range"},
    {"[[services]]\n[[services.ports]]\nstart_port = 9\nend_port = 8\n",
     ":2:1: services[0].ports[0]: start_port is above end_port"},
    {"[http_service.tls_options]\nversions = ['TLSv1.1']\n",
     ":2:12: http_service.tls_options.versions[0]: \"TLSv1.1\" is not served"},
    {"[checks.up]\ntype = 'ping'\nport = 1\n",
     ":1:1: checks.up.type: \"ping\" is no kind of check; write type = \"http\""},
    {"[checks.up]\ntype = 'tcp'\n",
     ":1:1: checks.up.port: no port, and no service to take it from; write port = 8080"},
    {"[http_service]\n[[http_service.checks]]\nmethod = 'GET /'\n",
     ":3:10: http_service.checks[0].method: not a method"},
    {"[http_service]\n[[http_service.checks]]\ninterval = [1]\n",
     ":3:12: http_service.checks[0].interval: a list is not accepted here; write a duration such "
     "as"},
    {"[env]\nFLY_X = '1'\n",
     ":2:1: env.FLY_X: names beginning with FLY_ are the platform's; rename it"},
    {"[env]\nA = ['x']\n", ":2:5: env.A: a list is not accepted here; write text in quotes"},
    {"[processes]\napp = \"sh -c 'x\"\n",
     ":2:7: processes.app: a ' without its end; close the quote"},
    {"[processes]\napp = 1\n", ":2:7: processes.app: a whole number is not a command"},
    {"[[statics]]\nguest_path = '/a'\nurl_prefix = 'a'\n",
     ":1:1: statics[0].url_prefix: missing or not a path"},
    {"[deploy]\nstrategy = 'fast'\n",
     ":2:12: deploy.strategy: \"fast\" is no strategy; write \"rolling\""},
    {"[rooster]\nidle_timout = '5m'\n",
     ":2:1: rooster.idle_timout: unknown key; did you mean \"idle_timeout\"?"},
    {"[rooster]\ninternal_port = 1\n",
     ":2:1: rooster.internal_port: unknown key here; it belongs under [http_service]"},
    {"[rooster]\ndriver = 'proces'\n",
     ":2:10: rooster.driver: \"proces\" is no driver; write \"process\""},
    {"[rooster]\ndriver = 'address'\n",
     ":2:10: rooster.driver: no address to go with it; write address = \"10.0.0.5\""},
    {"[rooster]\naddress = 'db:5432'\n",
     ":2:11: rooster.address: \"db:5432\" is neither a host name nor an address"},
    {"[rooster]\nhostnames = ['a.com', 'b..com']\n",
     ":2:23: rooster.hostnames[1]: \"b..com\" is not a host name"},
    {"[rooster]\nhostnames = ['a.com', 'A.com']\n",
     ":2:23: rooster.hostnames[1]: \"a.com\" is given twice"},
    {"[rooster]\naffinity = { cookie = 'a', header = 'b' }\n",
     ":2:12: rooster.affinity: one name of letters, digits and dashes is needed"},
    {"[rooster]\nmachines = { gru = 'two' }\n",
     ":2:20: rooster.machines.gru: text is not accepted here; write a whole number"},
    {"[rooster]\nmachines = { GRU = 2 }\n", ":2:14: rooster.machines.GRU: \"GRU\" is not a region"},
    {"[rooster]\nwake_timeout = '2h'\n",
     ":2:16: rooster.wake_timeout: 2h is out of range; write a duration from 100ms to 1h"},
    {"[rooster.wake]\nallow_paths = ['api']\n",
     ":2:15: rooster.wake.allow_paths[0]: \"api\" can't match any path; write \"/api\""},
    {"[rooster.wake]\ndeny_ranges = ['10.0.0.0/33']\n",
     ":2:15: rooster.wake.deny_ranges[0]: \"10.0.0.0/33\" is not an address range"},
    {"[rooster.wake]\nsni_prewake = true\nallow_methods = ['GET']\n",
     ":2:15: rooster.wake.sni_prewake: a name alone can't satisfy"},
    {"é = 1\n",
     ":1:1: a letter beyond ASCII outside quotes; put the key or value in quotes\n  é = 1\n  ^"},
    {"app = 'é' x\n",
     ":1:11: expected a comment or whitespace, saw 'x' (key-value pair); end the line after the "
     "value"},
    {"app = '\x08'\n", ":1:8: a control character; remove it"},
    {"app = '\xC0\xAF'\n", ":1:8: not valid UTF-8; save the file as UTF-8"},
};

TEST(BrokenApp, EachErrorHasItsPlaceAndItsMend) {
  for (const auto& [text, expected] : kBroken) {
    const auto parsed = parse_app(text, "/a/b.toml");
    EXPECT_FALSE(parsed.app) << text;
    std::string errors;
    for (const auto& one : parsed.diagnostics) {
      if (one.severity == Severity::Error) errors += render(one) + '\n';
    }
    EXPECT_TRUE(errors.starts_with(std::string("/a/b.toml") + expected)) << text << "--- is\n"
                                                                         << errors << "--- not\n"
                                                                         << expected;
    EXPECT_EQ(std::ranges::count(errors, '^'), 1) << "exactly one error, with its caret\n"
                                                  << errors;
  }
}

TEST(BrokenApp, AllErrorsOfAFileComeInOneRunInTheirOrder) {
  const auto parsed = parse_app(
      "kill_signal = 'X'\n[http_service]\ninternal_port = -1\nforce_https = 1\n[rooster]\nx = 1\n",
      "/a.toml");
  std::vector<std::uint32_t> lines;
  for (const auto& one : parsed.diagnostics) {
    if (one.severity == Severity::Error) lines.push_back(one.place.line);
  }
  EXPECT_EQ(lines, (std::vector<std::uint32_t>{1, 3, 4, 6}));
}

TEST(BrokenApp, AFloodOfErrorsIsBounded) {
  std::string text = "[rooster]\n";
  for (int i = 0; i < 5000; ++i) text += "k" + std::to_string(i) + " = 1\n";
  const auto parsed = parse_app(text, "/a.toml");
  EXPECT_LE(parsed.diagnostics.size(), Report::kMaxPerFile + 1);
  EXPECT_NE(parsed.diagnostics.back().message.find("more like these"), std::string::npos);
}

void expect_refused_quickly(const std::string& text, std::string_view what) {
  const auto begun = std::chrono::steady_clock::now();
  const auto parsed = parse_app(text, "/a.toml");
  const auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_FALSE(parsed.app);
  EXPECT_LT(took, std::chrono::milliseconds(500)) << what;
  EXPECT_NE(all_rendered(parsed.diagnostics).find(what), std::string::npos)
      << all_rendered(parsed.diagnostics);
}

std::string repeated(std::string_view part, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += part;
  return out;
}

TEST(BrokenApp, AMillionLinesAreRefusedQuickly) {
  expect_refused_quickly(repeated("\n", 1'000'000), "larger than");
  expect_refused_quickly(repeated("a = 1\n", 1'000'000), "larger than");
  expect_refused_quickly(repeated("\n", 400'000), "more than 10000 lines");
}

TEST(BrokenApp, DeepNestingIsRefusedQuickly) {
  expect_refused_quickly("a = " + repeated("[", 100'000), "nested deeper than 32");
  expect_refused_quickly("a = " + repeated("{a=", 100'000), "nested deeper than 32");
  expect_refused_quickly(repeated("a.", 100'000) + "a = 1", "a key of more than 17 parts");
  expect_refused_quickly("[" + repeated("a.", 100'000) + "a]", "a key of more than 17 parts");
  expect_refused_quickly("a = \"\"\"\\\n  § \"\"\"",
                         "a joined line begins with a letter beyond ASCII");
}

TEST(BrokenApp, AFullButHonestFileIsNotRefused) {
  std::string text = "[env]\n";
  for (int i = 0; i < 9000; ++i) text += "V" + std::to_string(i) + " = 1.25\n";
  EXPECT_EQ(app_of(text).env.size(), 9000U);
  EXPECT_TRUE(parse_document("a = [" + repeated("1.5, ", 10'000) + "]"));
}

TEST(Diagnostic, WarningsBecomeErrorsUnderStrict) {
  auto parsed = parse_app("interal_port = 1\n", "/a.toml");
  EXPECT_FALSE(has_errors(parsed.diagnostics));
  EXPECT_NE(render(parsed.diagnostics[0]).find(": warning: "), std::string::npos);
  make_strict(parsed.diagnostics);
  EXPECT_TRUE(has_errors(parsed.diagnostics));
}

}  // namespace
}  // namespace rooster::config
