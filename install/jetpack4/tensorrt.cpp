// The part of TensorRT's Python API that app/inference uses, with NVIDIA's names, for a Python that JetPack 4 has no
// bindings for. TensorRT 8.0 and 8.2. install/jetpack4/build.py compiles it against the board's own headers.
//
// Functions that fail return None or False, as in NVIDIA's module; constructors that get nothing raise TypeError.
// An object that TensorRT keeps a pointer to is kept alive by the object that has the pointer (py::keep_alive).
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#ifndef SOURCE_SHA256
#define SOURCE_SHA256 ""
#endif
#define HAS_INSPECTOR (NV_TENSORRT_MAJOR * 10 + NV_TENSORRT_MINOR >= 82)

namespace py = pybind11;
using namespace nvinfer1;
using py::literals::operator""_a;
using WithoutLock = py::call_guard<py::gil_scoped_release>;

namespace
{

py::tuple tupleOf(Dims const& dims)
{
    int const count = dims.nbDims < 0 ? 0 : dims.nbDims;
    py::tuple sizes(count);
    for (int i = 0; i < count; ++i)
        sizes[i] = py::int_(static_cast<int>(dims.d[i]));
    return sizes;
}

Dims dimsOf(py::sequence const& sizes)
{
    if (sizes.size() > Dims::MAX_DIMS)
        throw py::value_error("a shape of " + std::to_string(sizes.size()) + " sizes, but TensorRT has at most "
            + std::to_string(static_cast<int>(Dims::MAX_DIMS)));
    Dims dims{};
    dims.nbDims = static_cast<int32_t>(sizes.size());
    for (int i = 0; i < dims.nbDims; ++i)
        dims.d[i] = sizes[i].cast<int32_t>();
    return dims;
}

// A view of bytes, or of anything else with Python's buffer interface. Valid as long as it exists.
struct Bytes
{
    explicit Bytes(py::buffer const& buffer)
        : info(buffer.request())
        , data(info.ptr)
        , size(static_cast<size_t>(info.size * info.itemsize))
    {
    }

    py::buffer_info info;
    void const* data;
    size_t size;
};

// Runs a Python method that TensorRT calls, from any thread. TensorRT must not see exceptions, so they are reported
// as Python does for errors that nobody can catch, and `ifFailed` is the result.
template <typename Result, typename Call>
Result calledByTensorRT(char const* method, Result ifFailed, Call call) noexcept
{
    if (!Py_IsInitialized())
        return ifFailed;
    py::gil_scoped_acquire lock;
    py::error_scope errorOnItsWay; // of the code that caused this call, if any
    try
    {
        return call();
    }
    catch (py::error_already_set& error)
    {
        error.discard_as_unraisable(method);
    }
    catch (std::exception const& error)
    {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        py::error_already_set().discard_as_unraisable(method);
    }
    return ifFailed;
}

template <typename Base>
py::function methodOf(Base const* self, char const* name)
{
    py::function method = py::get_override(self, name);
    if (!method)
        throw std::runtime_error(std::string("the method ") + name + " is missing");
    return method;
}

class PyLogger : public ILogger
{
public:
    void log(Severity severity, char const* message) noexcept override
    {
        calledByTensorRT("ILogger.log", false, [&] {
            // Not every message is valid UTF-8: names of layers are whatever the network's file has.
            PyObject* text = PyUnicode_DecodeUTF8(message, static_cast<Py_ssize_t>(std::strlen(message)), "replace");
            methodOf<ILogger>(this, "log")(severity, py::reinterpret_steal<py::str>(text));
            return true;
        });
    }
};

class PyCalibrator : public IInt8EntropyCalibrator2
{
public:
    int32_t getBatchSize() const noexcept override
    {
        return calledByTensorRT("get_batch_size", int32_t{-1}, [&] { return method("get_batch_size")().cast<int32_t>(); });
    }

    bool getBatch(void* bindings[], char const* names[], int32_t count) noexcept override
    {
        return calledByTensorRT("get_batch", false, [&] {
            py::object given = method("get_batch")(std::vector<std::string>(names, names + count));
            if (given.is_none())
                return false;
            auto const addresses = given.cast<std::vector<size_t>>();
            if (addresses.size() != static_cast<size_t>(count))
                throw std::runtime_error("get_batch returned " + std::to_string(addresses.size()) + " addresses for "
                    + std::to_string(count) + " inputs");
            for (int32_t i = 0; i < count; ++i)
                bindings[i] = reinterpret_cast<void*>(addresses[i]);
            return true;
        });
    }

    void const* readCalibrationCache(size_t& length) noexcept override
    {
        length = 0;
        return calledByTensorRT("read_calibration_cache", static_cast<void const*>(nullptr), [&]() -> void const* {
            py::object given = method("read_calibration_cache")();
            if (given.is_none())
                return nullptr;
            mCache = given.cast<std::string>(); // TensorRT reads it after this call
            length = mCache.size();
            return mCache.data();
        });
    }

    void writeCalibrationCache(void const* data, size_t length) noexcept override
    {
        calledByTensorRT("write_calibration_cache", false, [&] {
            method("write_calibration_cache")(py::bytes(static_cast<char const*>(data), length));
            return true;
        });
    }

private:
    py::function method(char const* name) const
    {
        return methodOf<IInt8EntropyCalibrator2>(this, name);
    }

    std::string mCache;
};

std::string versionText(int major, int minor, int patch)
{
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

// Classes of C++ have other layouts in another version: calling them would crash.
std::string checkedVersion()
{
    int const library = getInferLibVersion();
    int const major = library / 1000, minor = library / 100 % 10;
    std::string const found = versionText(major, minor, library % 100);
    if (major != NV_TENSORRT_MAJOR || minor != NV_TENSORRT_MINOR)
        throw py::import_error("this module was built for TensorRT "
            + versionText(NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH) + ", but the library libnvinfer is "
            + found + "; build it again: .venv/bin/python install/jetpack4/build.py");
    return found;
}

void defineEnums(py::module_& m)
{
    py::enum_<DataType>(m, "DataType")
        .value("FLOAT", DataType::kFLOAT)
        .value("HALF", DataType::kHALF)
        .value("INT8", DataType::kINT8)
        .value("INT32", DataType::kINT32)
        .value("BOOL", DataType::kBOOL);
    py::enum_<TensorLocation>(m, "TensorLocation")
        .value("DEVICE", TensorLocation::kDEVICE)
        .value("HOST", TensorLocation::kHOST);
    py::enum_<DeviceType>(m, "DeviceType").value("GPU", DeviceType::kGPU).value("DLA", DeviceType::kDLA);
    py::enum_<BuilderFlag>(m, "BuilderFlag")
        .value("FP16", BuilderFlag::kFP16)
        .value("INT8", BuilderFlag::kINT8)
        .value("TF32", BuilderFlag::kTF32)
        .value("GPU_FALLBACK", BuilderFlag::kGPU_FALLBACK);
    py::enum_<NetworkDefinitionCreationFlag>(m, "NetworkDefinitionCreationFlag")
        .value("EXPLICIT_BATCH", NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
    py::enum_<ProfilingVerbosity> verbosity(m, "ProfilingVerbosity");
    verbosity.value("NONE", ProfilingVerbosity::kNONE);
#if HAS_INSPECTOR
    verbosity.value("DETAILED", ProfilingVerbosity::kDETAILED);
    py::enum_<LayerInformationFormat>(m, "LayerInformationFormat").value("JSON", LayerInformationFormat::kJSON);
#endif
}

void defineCallbacks(py::module_& m)
{
    py::class_<ILogger, PyLogger> logger(m, "ILogger");
    py::enum_<ILogger::Severity>(logger, "Severity")
        .value("INTERNAL_ERROR", ILogger::Severity::kINTERNAL_ERROR)
        .value("ERROR", ILogger::Severity::kERROR)
        .value("WARNING", ILogger::Severity::kWARNING)
        .value("INFO", ILogger::Severity::kINFO)
        .value("VERBOSE", ILogger::Severity::kVERBOSE);
    logger.def(py::init<>());
    py::class_<IInt8EntropyCalibrator2, PyCalibrator>(m, "IInt8EntropyCalibrator2").def(py::init<>());
}

void defineNetwork(py::module_& m)
{
    py::class_<IHostMemory>(m, "IHostMemory", py::buffer_protocol())
        .def_buffer([](IHostMemory& memory) {
            return py::buffer_info(static_cast<uint8_t*>(memory.data()), static_cast<py::ssize_t>(memory.size()));
        })
        .def_property_readonly("nbytes", &IHostMemory::size);
    py::class_<ITensor, std::unique_ptr<ITensor, py::nodelete>>(m, "ITensor")
        .def_property_readonly("name", &ITensor::getName)
        .def_property_readonly("shape", [](ITensor& tensor) { return tupleOf(tensor.getDimensions()); });
    py::class_<INetworkDefinition>(m, "INetworkDefinition")
        .def_property_readonly("num_inputs", &INetworkDefinition::getNbInputs)
        .def("get_input", &INetworkDefinition::getInput, "index"_a, py::return_value_policy::reference_internal);
}

void defineParser(py::module_& m)
{
    using nvonnxparser::IParser;
    using nvonnxparser::IParserError;
    py::class_<IParserError, std::unique_ptr<IParserError, py::nodelete>>(m, "ParserError")
        .def("node", &IParserError::node)
        .def("desc", &IParserError::desc);
    py::class_<IParser>(m, "OnnxParser")
        // The network's weights are the parser's. Both ways would keep both alive for ever.
        .def(py::init([](INetworkDefinition& network, ILogger& logger) {
            return nvonnxparser::createParser(network, logger);
        }), "network"_a, "logger"_a, py::keep_alive<1, 3>(), py::keep_alive<2, 1>())
        .def("parse", [](IParser& parser, py::buffer const& model) {
            Bytes const bytes(model);
            py::gil_scoped_release unlocked;
            return parser.parse(bytes.data, bytes.size);
        }, "model"_a)
        .def_property_readonly("num_errors", &IParser::getNbErrors)
        .def("get_error", &IParser::getError, "index"_a, py::return_value_policy::reference_internal);
}

void defineBuilder(py::module_& m)
{
    py::class_<IOptimizationProfile, std::unique_ptr<IOptimizationProfile, py::nodelete>>(m, "IOptimizationProfile")
        .def("set_shape", [](IOptimizationProfile& profile, char const* input, py::sequence const& min,
                py::sequence const& opt, py::sequence const& max) {
            return profile.setDimensions(input, OptProfileSelector::kMIN, dimsOf(min))
                && profile.setDimensions(input, OptProfileSelector::kOPT, dimsOf(opt))
                && profile.setDimensions(input, OptProfileSelector::kMAX, dimsOf(max));
        }, "input"_a, "min"_a, "opt"_a, "max"_a);
    py::class_<ITimingCache>(m, "ITimingCache").def("serialize", &ITimingCache::serialize);
    py::class_<IBuilderConfig>(m, "IBuilderConfig")
        .def_property("max_workspace_size", &IBuilderConfig::getMaxWorkspaceSize, &IBuilderConfig::setMaxWorkspaceSize)
        .def("set_flag", &IBuilderConfig::setFlag, "flag"_a)
        .def("clear_flag", &IBuilderConfig::clearFlag, "flag"_a)
        .def_property("profiling_verbosity", &IBuilderConfig::getProfilingVerbosity,
            &IBuilderConfig::setProfilingVerbosity)
        .def_property("default_device_type", &IBuilderConfig::getDefaultDeviceType,
            &IBuilderConfig::setDefaultDeviceType)
        .def_property("DLA_core", &IBuilderConfig::getDLACore, &IBuilderConfig::setDLACore)
        .def("create_timing_cache", [](IBuilderConfig& config, py::buffer const& serialized) {
            Bytes const bytes(serialized);
            return config.createTimingCache(bytes.data, bytes.size);
        }, "serialized_timing_cache"_a)
        .def("set_timing_cache", &IBuilderConfig::setTimingCache, "cache"_a, "ignore_mismatch"_a,
            py::keep_alive<1, 2>())
        .def("add_optimization_profile", &IBuilderConfig::addOptimizationProfile, "profile"_a)
        .def("set_calibration_profile", &IBuilderConfig::setCalibrationProfile, "profile"_a)
        .def_property("int8_calibrator", &IBuilderConfig::getInt8Calibrator,
            py::cpp_function([](IBuilderConfig& config, IInt8EntropyCalibrator2* calibrator) {
                config.setInt8Calibrator(calibrator);
            }, py::keep_alive<1, 2>()));
    py::class_<IBuilder>(m, "Builder")
        .def(py::init([](ILogger& logger) { return createInferBuilder(logger); }), "logger"_a, py::keep_alive<1, 2>())
        .def_property_readonly("num_DLA_cores", &IBuilder::getNbDLACores)
        .def_property_readonly("platform_has_fast_fp16", &IBuilder::platformHasFastFp16)
        .def_property_readonly("platform_has_fast_int8", &IBuilder::platformHasFastInt8)
        .def("create_network", [](IBuilder& builder, uint32_t flags) { return builder.createNetworkV2(flags); },
            "flags"_a = 0, py::keep_alive<0, 1>())
        .def("create_builder_config", &IBuilder::createBuilderConfig, py::keep_alive<0, 1>())
        .def("create_optimization_profile", &IBuilder::createOptimizationProfile, py::keep_alive<0, 1>())
        .def("build_serialized_network", &IBuilder::buildSerializedNetwork, "network"_a, "config"_a, WithoutLock());
}

void defineRuntime(py::module_& m)
{
#if HAS_INSPECTOR
    py::class_<IEngineInspector>(m, "EngineInspector")
        .def("get_layer_information", &IEngineInspector::getLayerInformation, "layer_index"_a, "format"_a);
#endif
    py::class_<IExecutionContext>(m, "IExecutionContext")
        .def("set_binding_shape", [](IExecutionContext& context, int32_t binding, py::sequence const& shape) {
            return context.setBindingDimensions(binding, dimsOf(shape));
        }, "binding"_a, "shape"_a)
        .def("get_binding_shape", [](IExecutionContext& context, int32_t binding) {
            return tupleOf(context.getBindingDimensions(binding));
        }, "binding"_a)
        .def("execute_async_v2", [](IExecutionContext& context, std::vector<size_t> addresses, size_t stream) {
            return context.enqueueV2(
                reinterpret_cast<void**>(addresses.data()), reinterpret_cast<cudaStream_t>(stream), nullptr);
        }, "bindings"_a, "stream_handle"_a, WithoutLock());
    py::class_<ICudaEngine>(m, "ICudaEngine")
        .def_property_readonly("num_bindings", &ICudaEngine::getNbBindings)
        .def_property_readonly("num_layers", &ICudaEngine::getNbLayers)
        .def_property_readonly("num_optimization_profiles", &ICudaEngine::getNbOptimizationProfiles)
        .def_property_readonly("device_memory_size", &ICudaEngine::getDeviceMemorySize)
        .def_property_readonly("has_implicit_batch_dimension", &ICudaEngine::hasImplicitBatchDimension)
        .def("get_binding_name", &ICudaEngine::getBindingName, "index"_a)
        .def("binding_is_input", &ICudaEngine::bindingIsInput, "index"_a)
        .def("get_location", &ICudaEngine::getLocation, "index"_a)
        .def("get_binding_dtype", &ICudaEngine::getBindingDataType, "index"_a)
        .def("get_binding_shape", [](ICudaEngine& engine, int32_t binding) {
            return tupleOf(engine.getBindingDimensions(binding));
        }, "index"_a)
        .def("get_profile_shape", [](ICudaEngine& engine, int32_t profile, int32_t binding) {
            return py::make_tuple(tupleOf(engine.getProfileDimensions(binding, profile, OptProfileSelector::kMIN)),
                tupleOf(engine.getProfileDimensions(binding, profile, OptProfileSelector::kOPT)),
                tupleOf(engine.getProfileDimensions(binding, profile, OptProfileSelector::kMAX)));
        }, "profile_index"_a, "binding"_a)
#if HAS_INSPECTOR
        .def("create_engine_inspector", &ICudaEngine::createEngineInspector, py::keep_alive<0, 1>())
#endif
        .def("create_execution_context", &ICudaEngine::createExecutionContext, py::keep_alive<0, 1>(), WithoutLock());
    py::class_<IRuntime>(m, "Runtime")
        .def(py::init([](ILogger& logger) { return createInferRuntime(logger); }), "logger"_a, py::keep_alive<1, 2>())
        .def_property("DLA_core", &IRuntime::getDLACore, &IRuntime::setDLACore)
        .def("deserialize_cuda_engine", [](IRuntime& runtime, py::buffer const& plan) {
            Bytes const bytes(plan);
            py::gil_scoped_release unlocked;
            return runtime.deserializeCudaEngine(bytes.data, bytes.size);
        }, "serialized_engine"_a, py::keep_alive<0, 1>());
}

} // namespace

PYBIND11_MODULE(_tensorrt, m)
{
    m.attr("__version__") = checkedVersion();
    m.attr("__source__") = SOURCE_SHA256;
    defineEnums(m);
    defineCallbacks(m);
    defineNetwork(m);
    defineParser(m);
    defineBuilder(m);
    defineRuntime(m);
}
