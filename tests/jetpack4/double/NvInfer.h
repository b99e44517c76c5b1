// A double of the part of TensorRT's C++ interface that install/jetpack4/tensorrt.cpp uses: names and meanings as in
// NVIDIA's documentation, everything else is ours. nvinfer.cpp has the behaviour.
#pragma once

#include <cstddef>
#include <cstdint>

#define NV_TENSORRT_MAJOR 8
#ifndef NV_TENSORRT_MINOR
#define NV_TENSORRT_MINOR 2
#endif
#define NV_TENSORRT_PATCH 1

typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;

namespace nvinfer1
{

class Dims32
{
public:
    static constexpr int32_t MAX_DIMS{8};
    int32_t nbDims;
    int32_t d[MAX_DIMS];
};
using Dims = Dims32;

enum class DataType : int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4 };
enum class TensorLocation : int32_t { kDEVICE = 0, kHOST = 1 };
enum class DeviceType : int32_t { kGPU, kDLA };
enum class BuilderFlag : int32_t { kFP16 = 0, kINT8 = 1, kGPU_FALLBACK = 3, kTF32 = 7 };
enum class NetworkDefinitionCreationFlag : int32_t { kEXPLICIT_BATCH = 0 };
enum class OptProfileSelector : int32_t { kMIN = 0, kOPT = 1, kMAX = 2 };
#if NV_TENSORRT_MINOR >= 2
enum class ProfilingVerbosity : int32_t { kLAYER_NAMES_ONLY = 0, kNONE = 1, kDETAILED = 2 };
enum class LayerInformationFormat : int32_t { kONELINE = 0, kJSON = 1 };
#else
enum class ProfilingVerbosity : int32_t { kDEFAULT = 0, kNONE = 1, kVERBOSE = 2 };
#endif

class ILogger
{
public:
    enum class Severity : int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
    virtual void log(Severity severity, char const* message) noexcept = 0;
    virtual ~ILogger() = default;
};

class IHostMemory
{
public:
    virtual ~IHostMemory() = default;
    virtual void* data() const noexcept = 0;
    virtual std::size_t size() const noexcept = 0;
};

class IInt8Calibrator
{
public:
    virtual ~IInt8Calibrator() = default;
    virtual int32_t getBatchSize() const noexcept = 0;
    virtual bool getBatch(void* bindings[], char const* names[], int32_t count) noexcept = 0;
    virtual void const* readCalibrationCache(std::size_t& length) noexcept = 0;
    virtual void writeCalibrationCache(void const* data, std::size_t length) noexcept = 0;
};

class IInt8EntropyCalibrator2 : public IInt8Calibrator
{
};

class ITensor
{
public:
    virtual char const* getName() const noexcept = 0;
    virtual Dims getDimensions() const noexcept = 0;

protected:
    virtual ~ITensor() = default;
};

class INetworkDefinition
{
public:
    virtual ~INetworkDefinition() = default;
    virtual int32_t getNbInputs() const noexcept = 0;
    virtual ITensor* getInput(int32_t index) const noexcept = 0;
};

class IOptimizationProfile
{
public:
    virtual bool setDimensions(char const* input, OptProfileSelector select, Dims dims) noexcept = 0;

protected:
    virtual ~IOptimizationProfile() = default;
};

class ITimingCache
{
public:
    virtual ~ITimingCache() = default;
    virtual IHostMemory* serialize() const noexcept = 0;
};

class IBuilderConfig
{
public:
    virtual ~IBuilderConfig() = default;
    virtual void setMaxWorkspaceSize(std::size_t size) noexcept = 0;
    virtual std::size_t getMaxWorkspaceSize() const noexcept = 0;
    virtual void setFlag(BuilderFlag flag) noexcept = 0;
    virtual void clearFlag(BuilderFlag flag) noexcept = 0;
    virtual void setProfilingVerbosity(ProfilingVerbosity verbosity) noexcept = 0;
    virtual ProfilingVerbosity getProfilingVerbosity() const noexcept = 0;
    virtual void setDefaultDeviceType(DeviceType type) noexcept = 0;
    virtual DeviceType getDefaultDeviceType() const noexcept = 0;
    virtual void setDLACore(int32_t core) noexcept = 0;
    virtual int32_t getDLACore() const noexcept = 0;
    virtual ITimingCache* createTimingCache(void const* data, std::size_t size) const noexcept = 0;
    virtual bool setTimingCache(ITimingCache const& cache, bool ignoreMismatch) noexcept = 0;
    virtual int32_t addOptimizationProfile(IOptimizationProfile const* profile) noexcept = 0;
    virtual bool setCalibrationProfile(IOptimizationProfile const* profile) noexcept = 0;
    virtual void setInt8Calibrator(IInt8Calibrator* calibrator) noexcept = 0;
    virtual IInt8Calibrator* getInt8Calibrator() const noexcept = 0;
};

class IBuilder
{
public:
    virtual ~IBuilder() = default;
    virtual int32_t getNbDLACores() const noexcept = 0;
    virtual bool platformHasFastFp16() const noexcept = 0;
    virtual bool platformHasFastInt8() const noexcept = 0;
    virtual INetworkDefinition* createNetworkV2(uint32_t flags) noexcept = 0;
    virtual IBuilderConfig* createBuilderConfig() noexcept = 0;
    virtual IOptimizationProfile* createOptimizationProfile() noexcept = 0;
    virtual IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept = 0;
};

#if NV_TENSORRT_MINOR >= 2
class IEngineInspector
{
public:
    virtual ~IEngineInspector() = default;
    virtual char const* getLayerInformation(int32_t layer, LayerInformationFormat format) const noexcept = 0;
};
#endif

class IExecutionContext
{
public:
    virtual ~IExecutionContext() = default;
    virtual bool setBindingDimensions(int32_t binding, Dims dims) noexcept = 0;
    virtual Dims getBindingDimensions(int32_t binding) const noexcept = 0;
    virtual bool enqueueV2(void* const* bindings, cudaStream_t stream, cudaEvent_t* consumed) noexcept = 0;
};

class ICudaEngine
{
public:
    virtual ~ICudaEngine() = default;
    virtual int32_t getNbBindings() const noexcept = 0;
    virtual int32_t getNbLayers() const noexcept = 0;
    virtual int32_t getNbOptimizationProfiles() const noexcept = 0;
    virtual std::size_t getDeviceMemorySize() const noexcept = 0;
    virtual bool hasImplicitBatchDimension() const noexcept = 0;
    virtual char const* getBindingName(int32_t binding) const noexcept = 0;
    virtual bool bindingIsInput(int32_t binding) const noexcept = 0;
    virtual TensorLocation getLocation(int32_t binding) const noexcept = 0;
    virtual DataType getBindingDataType(int32_t binding) const noexcept = 0;
    virtual Dims getBindingDimensions(int32_t binding) const noexcept = 0;
    virtual Dims getProfileDimensions(int32_t binding, int32_t profile, OptProfileSelector select) const noexcept = 0;
#if NV_TENSORRT_MINOR >= 2
    virtual IEngineInspector* createEngineInspector() const noexcept = 0;
#endif
    virtual IExecutionContext* createExecutionContext() noexcept = 0;
};

class IRuntime
{
public:
    virtual ~IRuntime() = default;
    virtual void setDLACore(int32_t core) noexcept = 0;
    virtual int32_t getDLACore() const noexcept = 0;
    virtual ICudaEngine* deserializeCudaEngine(void const* data, std::size_t size) noexcept = 0;
};

IBuilder* createInferBuilder(ILogger& logger) noexcept;
IRuntime* createInferRuntime(ILogger& logger) noexcept;

} // namespace nvinfer1

extern "C" int32_t getInferLibVersion() noexcept;
